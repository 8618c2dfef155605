// MicroPython module `slots`: what an update session does to the application slots (slots.h).
//
//   SIZE                       bytes of the image in a slot, at most
//   status() -> (running, version, floor, trial, outcome, target)
//   check(manifest) -> int     0, or why it is refused: slots_refusal_t
//   erase() -> bool            the target; the processor stands still for 1 to 4 s
//   write(offset, data) -> bool
//   blank(offset, size) -> bool
//   digest(size) -> bytes      SHA-256 of the first bytes of the target's image
//   order(manifest) -> int     start the target at the next boot, on trial; as check()
//   confirm() -> bool
//   verify(key, data, signature) -> bool   Ed25519

#include "applications.h"
#include "board_gen.h"
#include "py/runtime.h"

static mp_obj_t module_status(void) {
    const slots_t *slots = applications_slots();
    mp_obj_t items[] = {
        MP_OBJ_NEW_SMALL_INT(slots->running),
        mp_obj_new_int_from_uint(slots_version(slots)),
        mp_obj_new_int_from_uint(slots->state.floor),
        MP_OBJ_NEW_SMALL_INT(slots_on_trial(slots)),
        MP_OBJ_NEW_SMALL_INT(slots->state.outcome),
        MP_OBJ_NEW_SMALL_INT(slots_target(slots)),
    };
    return mp_obj_new_tuple(MP_ARRAY_SIZE(items), items);
}
static MP_DEFINE_CONST_FUN_OBJ_0(module_status_obj, module_status);

static const uint8_t *bytes_of(mp_obj_t object, size_t expected) {
    mp_buffer_info_t buffer;
    mp_get_buffer_raise(object, &buffer, MP_BUFFER_READ);
    if (buffer.len != expected) {
        mp_raise_msg_varg(&mp_type_ValueError, MP_ERROR_TEXT("expected %d bytes, got %d"), (int)expected, (int)buffer.len);
    }
    return buffer.buf;
}

static mp_obj_t module_check(mp_obj_t manifest) {
    return MP_OBJ_NEW_SMALL_INT(slots_check(applications_slots(), bytes_of(manifest, SLOTS_MANIFEST)));
}
static MP_DEFINE_CONST_FUN_OBJ_1(module_check_obj, module_check);

static mp_obj_t module_erase(void) {
    return mp_obj_new_bool(slots_erase(applications_slots()));
}
static MP_DEFINE_CONST_FUN_OBJ_0(module_erase_obj, module_erase);

static mp_obj_t module_write(mp_obj_t offset, mp_obj_t data) {
    mp_buffer_info_t buffer;
    mp_get_buffer_raise(data, &buffer, MP_BUFFER_READ);
    return mp_obj_new_bool(slots_write(applications_slots(), mp_obj_get_int(offset), buffer.buf, buffer.len));
}
static MP_DEFINE_CONST_FUN_OBJ_2(module_write_obj, module_write);

static const uint8_t *image(mp_int_t offset, mp_int_t size) {
    const uint8_t *content = slots_image(applications_slots(), offset, size);
    if (content == NULL) {
        mp_raise_ValueError(MP_ERROR_TEXT("no target, or beyond its end"));
    }
    return content;
}

static mp_obj_t module_blank(mp_obj_t offset, mp_obj_t size_in) {
    mp_int_t size = mp_obj_get_int(size_in);
    const uint8_t *content = image(mp_obj_get_int(offset), size);
    while (size != 0 && content[size - 1] == 0xFF) {
        --size;
    }
    return mp_obj_new_bool(size == 0);
}
static MP_DEFINE_CONST_FUN_OBJ_2(module_blank_obj, module_blank);

static mp_obj_t module_digest(mp_obj_t size_in) {
    mp_int_t size = mp_obj_get_int(size_in);
    uint8_t digest[32];
    applications_slots()->port->sha256(image(0, size), size, digest);
    return mp_obj_new_bytes(digest, sizeof(digest));
}
static MP_DEFINE_CONST_FUN_OBJ_1(module_digest_obj, module_digest);

static mp_obj_t module_order(mp_obj_t manifest) {
    return MP_OBJ_NEW_SMALL_INT(slots_order(applications_slots(), bytes_of(manifest, SLOTS_MANIFEST)));
}
static MP_DEFINE_CONST_FUN_OBJ_1(module_order_obj, module_order);

static mp_obj_t module_confirm(void) {
    return mp_obj_new_bool(slots_confirm(applications_slots()));
}
static MP_DEFINE_CONST_FUN_OBJ_0(module_confirm_obj, module_confirm);

static mp_obj_t module_verify(mp_obj_t key, mp_obj_t data, mp_obj_t signature) {
    mp_buffer_info_t signed_data;
    mp_get_buffer_raise(data, &signed_data, MP_BUFFER_READ);
    return mp_obj_new_bool(applications_slots()->port->verify(
        bytes_of(key, 32), signed_data.buf, signed_data.len, bytes_of(signature, 64)));
}
static MP_DEFINE_CONST_FUN_OBJ_3(module_verify_obj, module_verify);

static const mp_rom_map_elem_t slots_globals_table[] = {
    {MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR_slots)},
    {MP_ROM_QSTR(MP_QSTR_SIZE), MP_ROM_INT(SLOTS_SIZE / BD_SLOTS - SLOTS_HEADER)},
    {MP_ROM_QSTR(MP_QSTR_status), MP_ROM_PTR(&module_status_obj)},
    {MP_ROM_QSTR(MP_QSTR_check), MP_ROM_PTR(&module_check_obj)},
    {MP_ROM_QSTR(MP_QSTR_erase), MP_ROM_PTR(&module_erase_obj)},
    {MP_ROM_QSTR(MP_QSTR_write), MP_ROM_PTR(&module_write_obj)},
    {MP_ROM_QSTR(MP_QSTR_blank), MP_ROM_PTR(&module_blank_obj)},
    {MP_ROM_QSTR(MP_QSTR_digest), MP_ROM_PTR(&module_digest_obj)},
    {MP_ROM_QSTR(MP_QSTR_order), MP_ROM_PTR(&module_order_obj)},
    {MP_ROM_QSTR(MP_QSTR_confirm), MP_ROM_PTR(&module_confirm_obj)},
    {MP_ROM_QSTR(MP_QSTR_verify), MP_ROM_PTR(&module_verify_obj)},
};
static MP_DEFINE_CONST_DICT(slots_globals, slots_globals_table);

const mp_obj_module_t slots_module = {
    .base = {&mp_type_module},
    .globals = (mp_obj_dict_t *)&slots_globals,
};
MP_REGISTER_MODULE(MP_QSTR_slots, slots_module);
