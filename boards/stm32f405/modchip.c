// Module chip: what this port reports of itself.
//   last_fault() -> None | (kind, text, pc, lr, cfsr, address, uptime_ms)   of the run before
//   fail(text)      leave text as the reason and restart by watchdog, within 2 s
//   clock() -> (source, hz)
//   stack() -> (used, size)   bytes of the C stack, now
//   image_digest() -> bytes   SHA-256 of the image in flash, which is that of the file that was flashed

#include "applications.h"
#include "fault.h"
#include "layout.h"
#include "port.h"
#include "py/cstack.h"
#include "py/runtime.h"
#include "regs.h"

static const qstr kinds[FAULT_KINDS] = {
    [FAULT_NONE] = MP_QSTR_none, [FAULT_HARD] = MP_QSTR_hard, [FAULT_STACK] = MP_QSTR_stack,
    [FAULT_WATCHDOG] = MP_QSTR_watchdog, [FAULT_UNCAUGHT] = MP_QSTR_uncaught,
    [FAULT_APPLICATION] = MP_QSTR_application, [FAULT_MEMORY] = MP_QSTR_memory,
    [FAULT_UNEXPECTED_IRQ] = MP_QSTR_irq,
};

static mp_obj_t chip_last_fault(void) {
    const fault_record_t *fault = fault_last();
    if (fault == NULL) {
        return mp_const_none;
    }
    mp_obj_t items[] = {
        MP_OBJ_NEW_QSTR(kinds[fault->kind < FAULT_KINDS ? fault->kind : FAULT_NONE]),
        mp_obj_new_str_from_cstr(fault->text),
        mp_obj_new_int_from_uint(fault->pc), mp_obj_new_int_from_uint(fault->lr),
        mp_obj_new_int_from_uint(fault->cfsr), mp_obj_new_int_from_uint(fault->address),
        mp_obj_new_int_from_uint(fault->uptime_ms),
    };
    return mp_obj_new_tuple(MP_ARRAY_SIZE(items), items);
}
static MP_DEFINE_CONST_FUN_OBJ_0(chip_last_fault_obj, chip_last_fault);

static mp_obj_t chip_fail(mp_obj_t text) {
    fault_stop(FAULT_APPLICATION, 0, 0, mp_obj_str_get_str(text));
}
static MP_DEFINE_CONST_FUN_OBJ_1(chip_fail_obj, chip_fail);

static mp_obj_t chip_clock(void) {
    static const qstr sources[] = {
        [CLOCK_HSE] = MP_QSTR_hse, [CLOCK_HSI] = MP_QSTR_hsi, [CLOCK_HSI_NO_PLL] = MP_QSTR_hsi_slow,
        [CLOCK_UNKNOWN] = MP_QSTR_unknown,
    };
    mp_obj_t items[] = { MP_OBJ_NEW_QSTR(sources[clock_source()]), mp_obj_new_int_from_uint(clock_sysclk()) };
    return mp_obj_new_tuple(MP_ARRAY_SIZE(items), items);
}
static MP_DEFINE_CONST_FUN_OBJ_0(chip_clock_obj, chip_clock);

static mp_obj_t chip_stack(void) {
    mp_obj_t items[] = {
        mp_obj_new_int_from_uint(mp_cstack_usage()),
        MP_OBJ_NEW_SMALL_INT(LAYOUT_STACK_SIZE - LAYOUT_GUARD_SIZE),
    };
    return mp_obj_new_tuple(MP_ARRAY_SIZE(items), items);
}
static MP_DEFINE_CONST_FUN_OBJ_0(chip_stack_obj, chip_stack);

static mp_obj_t chip_image_digest(void) {
    return mp_obj_new_bytes(applications_image_digest(), 32);
}
static MP_DEFINE_CONST_FUN_OBJ_0(chip_image_digest_obj, chip_image_digest);

static const mp_rom_map_elem_t chip_globals_table[] = {
    { MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR_chip) },
    { MP_ROM_QSTR(MP_QSTR_last_fault), MP_ROM_PTR(&chip_last_fault_obj) },
    { MP_ROM_QSTR(MP_QSTR_fail), MP_ROM_PTR(&chip_fail_obj) },
    { MP_ROM_QSTR(MP_QSTR_clock), MP_ROM_PTR(&chip_clock_obj) },
    { MP_ROM_QSTR(MP_QSTR_stack), MP_ROM_PTR(&chip_stack_obj) },
    { MP_ROM_QSTR(MP_QSTR_image_digest), MP_ROM_PTR(&chip_image_digest_obj) },
};
static MP_DEFINE_CONST_DICT(chip_globals, chip_globals_table);

const mp_obj_module_t chip_module = {
    .base = { &mp_type_module },
    .globals = (mp_obj_dict_t *)&chip_globals,
};
MP_REGISTER_MODULE(MP_QSTR_chip, chip_module);
