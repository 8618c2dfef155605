// The independent watchdog: hardware on an oscillator of its own, which nothing stops again.
#pragma once

#include <stdbool.h>
#include <stdint.h>

void iwdg_program(uint32_t ms); // start it, or change its time; the chip is reset ms after the last feed
void iwdg_feed(void);
bool iwdg_present(void); // after iwdg_program(); false: an emulator has no such device (QEMU)
