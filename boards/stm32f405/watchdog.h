// The watchdog and what it knows of the last reset.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define WATCHDOG_MAX_MS (26000)

void watchdog_start(uint32_t timeout_ms); // 1 to WATCHDOG_MAX_MS; cannot be stopped again
void watchdog_feed(void);
void watchdog_hold(void); // feed, and leave at least WATCHDOG_HOLD_MS until the next has to come
#define WATCHDOG_HOLD_MS (5000)
// pc, lr: of the interrupted code
void watchdog_tick(uint32_t pc, uint32_t lr); // every millisecond, from the SysTick interrupt
void watchdog_bite_soon(void);            // start or shorten the hardware watchdog to about 0.5 s
