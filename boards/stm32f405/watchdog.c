// The watchdog, twice. SysTick counts exactly and, when nobody fed in time, records where the
// program hung before the reset; the independent watchdog (IWDG), on an oscillator of its own,
// catches what SysTick cannot: interrupts off, a stopped clock, a wild program.

#include "watchdog.h"

#include "fault.h"
#include "port.h"
#include "regs.h"
#include "reset.h"

#define KEY_RELOAD (0xAAAA)
#define KEY_UNLOCK (0x5555)
#define KEY_START (0xCCCC)
#define RELOAD_MAX (0xFFFu)
#define PRESCALER_MAX (6u) // divides by 4 << 6
// kHz of the LSI at its fastest (17 to 47, datasheet): the IWDG never bites before SysTick does,
// except for timeouts above 22 s, which its counter cannot hold at that speed.
#define LSI_KHZ_MAX (47)
#define MARGIN_MS (250)
#define BITE_MS (500)

static uint32_t timeout;
static volatile uint32_t fed_at;
static bool held;

static void program(uint32_t ms) {
    uint32_t counts = ms * LSI_KHZ_MAX / 4;
    uint32_t prescaler = 0;
    while (counts > RELOAD_MAX && prescaler < PRESCALER_MAX) {
        counts /= 2;
        ++prescaler;
    }
    IWDG->KR = KEY_START; // switches the LSI on as well
    IWDG->KR = KEY_UNLOCK;
    // A change before this may still be on its way to the LSI's clock domain, at most 5 of its
    // cycles (0.3 ms); writes meanwhile would be lost.
    for (unsigned turn = 0; IWDG->SR != 0 && turn < 60000; ++turn) {
    }
    IWDG->PR = prescaler;
    IWDG->RLR = counts > RELOAD_MAX ? RELOAD_MAX : counts;
    for (unsigned turn = 0; IWDG->SR != 0 && turn < 60000; ++turn) {
    }
    IWDG->KR = KEY_RELOAD;
}

static void feed(void) {
    if (timeout != 0) {
        IWDG->KR = KEY_RELOAD;
    }
    fed_at = ticks_ms();
}

void watchdog_start(uint32_t timeout_ms) {
    program(timeout_ms + MARGIN_MS);
    fed_at = ticks_ms();
    timeout = timeout_ms;
    // The reload value is never 0 unless there is no such device (QEMU): then a reset without a
    // word cannot have been its doing.
    if (IWDG->RLR != 0) {
        reset_note_watchdog();
    }
}

void watchdog_hold(void) {
    if (timeout != 0 && timeout < WATCHDOG_HOLD_MS) {
        program(WATCHDOG_HOLD_MS); // watchdog_feed() goes back to the timeout asked for
        held = true;
    }
    feed();
}

void watchdog_feed(void) {
    if (held) {
        held = false;
        program(timeout + MARGIN_MS);
    }
    feed();
}

void watchdog_tick(uint32_t pc, uint32_t lr) {
    if (timeout != 0 && ticks_ms() - fed_at > timeout) {
        fault_stop(FAULT_WATCHDOG, pc, lr, NULL);
    }
}

void watchdog_bite_soon(void) {
    program(BITE_MS);
}
