// Why the chip was reset, and the few words in RAM that one run leaves for the next.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum { RESET_SOFT, RESET_POWER_ON, RESET_PIN, RESET_WATCHDOG, RESET_COMMAND } reset_cause_t;

#define RESET_NOTE_WORDS (18)

// Before anything else: finds the cause and copies the note of the run before, if it left one.
bool reset_init(void *note, size_t size);
reset_cause_t reset_cause(void);
void reset_watchdog_runs(void); // from here on a reset without a word is the watchdog's
// The place of the note, RESET_NOTE_WORDS words, and the seal that makes it count: the run ends in
// a fault. What is written after the seal spoils the note.
void *reset_note(void);
void reset_seal_note(void);
__attribute__((noreturn)) void reset_now(void);
__attribute__((noreturn)) void reset_by_command(void); // the next run finds RESET_COMMAND
