// MicroPython module `flashstore`: record_store.c over sectors 10 and 11 of the internal flash.
//
//   read(name) -> bytes | None
//   write(name, data) -> bool    False: the medium did not take it, it is kept in RAM until reset
//   writable() -> bool           False since a write failed
//   lost() -> bool               damage was found where a newer record may have been
//   stats() -> dict              sequence, used, free, records, volatile
#include "py/runtime.h"

#include "flash_store.h"

static mp_obj_t flashstore_read(mp_obj_t name_in) {
    size_t name_len, data_len;
    const char *name = mp_obj_str_get_data(name_in, &name_len);
    const uint8_t *data;
    if (!rs_read(flash_store(), name, name_len, &data, &data_len)) {
        return mp_const_none;
    }
    return mp_obj_new_bytes(data, data_len);
}
static MP_DEFINE_CONST_FUN_OBJ_1(flashstore_read_obj, flashstore_read);

static mp_obj_t flashstore_write(mp_obj_t name_in, mp_obj_t data_in) {
    size_t name_len;
    const char *name = mp_obj_str_get_data(name_in, &name_len);
    mp_buffer_info_t data;
    mp_get_buffer_raise(data_in, &data, MP_BUFFER_READ);
    if (!rs_allowed(name, name_len, data.len)) {
        mp_raise_msg_varg(&mp_type_ValueError,
            MP_ERROR_TEXT("record: expected a name of 1 to %d and at most %d bytes, got %d and %d"),
            (int)RS_NAME_MAX, (int)RS_DATA_MAX, (int)name_len, (int)data.len);
    }
    return mp_obj_new_bool(rs_write(flash_store(), name, name_len, data.buf, data.len));
}
static MP_DEFINE_CONST_FUN_OBJ_2(flashstore_write_obj, flashstore_write);

static mp_obj_t flashstore_writable(void) {
    return mp_obj_new_bool(rs_writable(flash_store()));
}
static MP_DEFINE_CONST_FUN_OBJ_0(flashstore_writable_obj, flashstore_writable);

static mp_obj_t flashstore_lost(void) {
    return mp_obj_new_bool(rs_lost(flash_store()));
}
static MP_DEFINE_CONST_FUN_OBJ_0(flashstore_lost_obj, flashstore_lost);

static mp_obj_t flashstore_stats(void) {
    const rs_store_t *store = flash_store();
    uint32_t used = store->end < FLASH_STORE_SECTOR ? store->end : FLASH_STORE_SECTOR;
    mp_obj_t dict = mp_obj_new_dict(5);
    mp_obj_dict_store(dict, MP_ROM_QSTR(MP_QSTR_sequence), mp_obj_new_int_from_uint(store->sequence));
    mp_obj_dict_store(dict, MP_ROM_QSTR(MP_QSTR_used), MP_OBJ_NEW_SMALL_INT(used));
    mp_obj_dict_store(dict, MP_ROM_QSTR(MP_QSTR_free), MP_OBJ_NEW_SMALL_INT(FLASH_STORE_SECTOR - used));
    mp_obj_dict_store(dict, MP_ROM_QSTR(MP_QSTR_records), MP_OBJ_NEW_SMALL_INT(store->count));
    mp_obj_dict_store(dict, MP_ROM_QSTR(MP_QSTR_volatile), MP_OBJ_NEW_SMALL_INT(rs_volatile(store)));
    return dict;
}
static MP_DEFINE_CONST_FUN_OBJ_0(flashstore_stats_obj, flashstore_stats);

static const mp_rom_map_elem_t flashstore_globals_table[] = {
    {MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR_flashstore)},
    {MP_ROM_QSTR(MP_QSTR_read), MP_ROM_PTR(&flashstore_read_obj)},
    {MP_ROM_QSTR(MP_QSTR_write), MP_ROM_PTR(&flashstore_write_obj)},
    {MP_ROM_QSTR(MP_QSTR_writable), MP_ROM_PTR(&flashstore_writable_obj)},
    {MP_ROM_QSTR(MP_QSTR_lost), MP_ROM_PTR(&flashstore_lost_obj)},
    {MP_ROM_QSTR(MP_QSTR_stats), MP_ROM_PTR(&flashstore_stats_obj)},
};
static MP_DEFINE_CONST_DICT(flashstore_globals, flashstore_globals_table);

const mp_obj_module_t flashstore_module = {
    .base = {&mp_type_module},
    .globals = (mp_obj_dict_t *)&flashstore_globals,
};
MP_REGISTER_MODULE(MP_QSTR_flashstore, flashstore_module);
