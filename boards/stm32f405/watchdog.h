// The watchdog of the application: fed in time, or the program is reset and the place is recorded.
#pragma once

#include <stdint.h>

#define WATCHDOG_MAX_MS (26000)

void watchdog_start(uint32_t timeout_ms); // 1 to WATCHDOG_MAX_MS; cannot be stopped again
void watchdog_feed(void);
void watchdog_hold(void); // feed, and leave at least WATCHDOG_HOLD_MS until the next has to come
#define WATCHDOG_HOLD_MS (5000)
