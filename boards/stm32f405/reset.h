// Why the chip was reset.
#pragma once

typedef enum { RESET_SOFT, RESET_POWER_ON, RESET_PIN, RESET_WATCHDOG, RESET_COMMAND } reset_cause_t;

reset_cause_t reset_cause(void);
void reset_note_watchdog(void); // from here on a reset without a word is the watchdog's
