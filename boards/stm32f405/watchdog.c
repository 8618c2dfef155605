// The watchdog, twice. SysTick counts exactly and, when nobody fed in time, records where the
// program hung before the reset; the independent watchdog (iwdg.c), on an oscillator of its own,
// catches what SysTick cannot: interrupts off, a stopped clock, a wild program.

#include "watchdog.h"

#include "fault.h"
#include "iwdg.h"
#include "port.h"
#include "reset.h"

#define MARGIN_MS (250)

static uint32_t timeout;
static volatile uint32_t fed_at;
static bool held;

static void feed(void) {
    if (timeout != 0) {
        iwdg_feed();
    }
    fed_at = ticks_ms();
}

// Every millisecond, from the SysTick interrupt; pc, lr: of the interrupted code.
static void check(uint32_t pc, uint32_t lr) {
    if (ticks_ms() - fed_at > timeout) {
        fault_stop(FAULT_WATCHDOG, pc, lr, NULL);
    }
}

void watchdog_start(uint32_t timeout_ms) {
    iwdg_program(timeout_ms + MARGIN_MS);
    fed_at = ticks_ms();
    timeout = timeout_ms;
    systick_call(check);
    if (iwdg_present()) {
        reset_watchdog_runs(); // without the device a reset without a word has another cause
    }
}

void watchdog_hold(void) {
    if (timeout != 0 && timeout < WATCHDOG_HOLD_MS) {
        iwdg_program(WATCHDOG_HOLD_MS); // watchdog_feed() goes back to the timeout asked for
        held = true;
    }
    feed();
}

void watchdog_feed(void) {
    if (held) {
        held = false;
        iwdg_program(timeout + MARGIN_MS);
    }
    feed();
}
