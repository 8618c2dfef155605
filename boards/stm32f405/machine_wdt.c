// machine.WDT, included by MicroPython's extmod/machine_wdt.c.

#include "watchdog.h"

struct _machine_wdt_obj_t {
    mp_obj_base_t base;
};

static machine_wdt_obj_t machine_wdt = { { &machine_wdt_type } };

static machine_wdt_obj_t *mp_machine_wdt_make_new_instance(mp_int_t id, mp_int_t timeout_ms) {
    if (id != 0) {
        mp_raise_msg_varg(&mp_type_ValueError, MP_ERROR_TEXT("WDT: expected id 0, got %d"), (int)id);
    }
    if (timeout_ms < 1 || timeout_ms > WATCHDOG_MAX_MS) {
        mp_raise_msg_varg(&mp_type_ValueError, MP_ERROR_TEXT("timeout: expected 1 to %d ms, got %d"),
            WATCHDOG_MAX_MS, (int)timeout_ms);
    }
    watchdog_start(timeout_ms);
    return &machine_wdt;
}

static void mp_machine_wdt_feed(machine_wdt_obj_t *self) {
    (void)self;
    watchdog_feed();
}
