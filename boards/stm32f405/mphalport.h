// What MicroPython's own code asks of a port beside py/mphal.h.
#pragma once

#include "py/obj.h"
#include "port.h"
#include "regs.h"

#define MICROPY_BEGIN_ATOMIC_SECTION() irq_off()
#define MICROPY_END_ATOMIC_SECTION(state) irq_restore(state)

// SysTick ends every wait after a millisecond at most, so a wake-up can be late but not lost.
#define MICROPY_INTERNAL_WFE(timeout_ms) ((void)(timeout_ms), wait_for_interrupt())

void mp_hal_set_interrupt_char(int c);

// Pins, for extmod's 1-Wire and pulse timing.
#define mp_hal_pin_obj_t unsigned
mp_hal_pin_obj_t mp_hal_get_pin_obj(mp_obj_t pin);
#define mp_hal_pin_read(pin) ((int)pin_get(pin))
#define mp_hal_pin_write(pin, value) pin_set((pin), (value) != 0)
#define mp_hal_pin_od_low(pin) pin_set((pin), false)
#define mp_hal_pin_od_high(pin) pin_set((pin), true)
#define mp_hal_delay_us_fast mp_hal_delay_us
#define mp_hal_quiet_timing_enter() irq_off()
#define mp_hal_quiet_timing_exit(state) irq_restore(state)
