// The machine module's functions, included by MicroPython's extmod/modmachine.c.

#include "port.h"
#include "reset.h"
#include "uid.h"

#define MICROPY_PY_MACHINE_EXTRA_GLOBALS \
    { MP_ROM_QSTR(MP_QSTR_Pin), MP_ROM_PTR(&machine_pin_type) }, \
    { MP_ROM_QSTR(MP_QSTR_SOFT_RESET), MP_ROM_INT(RESET_SOFT) }, \
    { MP_ROM_QSTR(MP_QSTR_PWRON_RESET), MP_ROM_INT(RESET_POWER_ON) }, \
    { MP_ROM_QSTR(MP_QSTR_HARD_RESET), MP_ROM_INT(RESET_PIN) }, \
    { MP_ROM_QSTR(MP_QSTR_WDT_RESET), MP_ROM_INT(RESET_WATCHDOG) }, \
    { MP_ROM_QSTR(MP_QSTR_COMMAND_RESET), MP_ROM_INT(RESET_COMMAND) },

static void mp_machine_idle(void) {
    mp_event_wait_ms(1);
}

NORETURN static void mp_machine_reset(void) {
    reset_by_command();
}

static mp_int_t mp_machine_reset_cause(void) {
    return reset_cause();
}

static mp_obj_t mp_machine_unique_id(void) {
    uint8_t id[UID_SIZE];
    uid_read(id);
    return mp_obj_new_bytes(id, sizeof(id));
}

static mp_obj_t mp_machine_get_freq(void) {
    return mp_obj_new_int_from_uint(clock_sysclk());
}

NORETURN static void unsupported(void) {
    mp_raise_NotImplementedError(MP_ERROR_TEXT("this board runs at one speed and does not sleep"));
}

static void mp_machine_set_freq(size_t n_args, const mp_obj_t *args) {
    (void)n_args, (void)args;
    unsupported();
}

static void mp_machine_lightsleep(size_t n_args, const mp_obj_t *args) {
    (void)n_args, (void)args;
    unsupported();
}

NORETURN static void mp_machine_deepsleep(size_t n_args, const mp_obj_t *args) {
    (void)n_args, (void)args;
    unsupported();
}
