// The time base: SysTick interrupts once a millisecond, its counter gives the microseconds between.

#include "port.h"
#include "py/mphal.h"
#include "py/runtime.h"
#include "regs.h"

static volatile uint32_t milliseconds;
static volatile uint32_t wraps; // of milliseconds, every 49.7 days
static tick_hook_t volatile hook;

void systick_init(void) {
    milliseconds = 0;
    wraps = 0;
    SYSTICK->LOAD = clock_sysclk() / 1000 - 1;
    SYSTICK->VAL = 0;
    SYSTICK->CTRL = SYSTICK_CTRL_CLKSOURCE | SYSTICK_CTRL_TICKINT | SYSTICK_CTRL_ENABLE;
}

// Passes on where the interrupted code was: a watchdog that expires can then record where it hung.
__attribute__((naked)) void systick_handler(void) {
    __asm volatile ("mrs r0, msp\n b systick_tick");
}

__attribute__((used)) static void systick_tick(const uint32_t *frame) {
    if (++milliseconds == 0) {
        ++wraps;
    }
    if (hook != NULL) {
        hook(frame[6], frame[5]);
    }
}

void systick_call(tick_hook_t wanted) {
    hook = wanted;
}

uint32_t ticks_ms(void) {
    return milliseconds;
}

uint64_t ticks_us64(void) {
    uint32_t state = irq_off();
    uint32_t count = SYSTICK->VAL;
    uint64_t ms = ((uint64_t)wraps << 32) | milliseconds;
    // The counter may have wrapped after the interrupts went off (or while a handler of higher
    // priority runs): then the interrupt is pending and its millisecond not counted yet.
    if (SCB->ICSR & SCB_ICSR_PENDSTSET) {
        count = SYSTICK->VAL;
        ms += 1;
    }
    irq_restore(state);
    uint32_t per_us = clock_sysclk() / 1000000;
    return ms * 1000 + (SYSTICK->LOAD - count) / per_us;
}

mp_uint_t mp_hal_ticks_ms(void) {
    return milliseconds;
}

mp_uint_t mp_hal_ticks_us(void) {
    return (mp_uint_t)ticks_us64();
}

// The DWT's cycle counter would be finer, but QEMU's reads 0 for ever.
mp_uint_t mp_hal_ticks_cpu(void) {
    return (mp_uint_t)ticks_us64();
}

uint64_t mp_hal_time_ns(void) {
    return ticks_us64() * 1000; // since boot: the board has no calendar
}

void mp_hal_delay_us(mp_uint_t us) {
    uint32_t start = mp_hal_ticks_us();
    while (mp_hal_ticks_us() - start < us) {
    }
}

void mp_hal_delay_ms(mp_uint_t ms) {
    uint64_t end = ticks_us64() + (uint64_t)ms * 1000;
    do {
        mp_event_handle_nowait();
        if (end - ticks_us64() > 1000 && ticks_us64() < end) {
            wait_for_interrupt();
        }
    } while (ticks_us64() < end);
}
