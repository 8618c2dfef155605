// What ended the last run, and how this one ends when something is beyond repair.
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef enum {
    FAULT_NONE,
    FAULT_HARD,           // bus, memory or usage fault
    FAULT_STACK,          // the C stack ran into its guard
    FAULT_WATCHDOG,       // nobody fed the watchdog in time
    FAULT_UNCAUGHT,       // a Python exception without a handler (nlr_jump_fail)
    FAULT_APPLICATION,    // the application ended with an exception; text names it
    FAULT_MEMORY,         // the same with MemoryError
    FAULT_UNEXPECTED_IRQ, // pc: its number
    FAULT_KINDS,
} fault_kind_t;

typedef struct {
    uint32_t kind; // fault_kind_t
    uint32_t pc, lr;
    uint32_t cfsr;      // configurable fault status register
    uint32_t address;   // what was accessed, 0 if the core does not know
    uint32_t uptime_ms;
    char text[48];      // an exception's name, or empty
} fault_record_t;

void fault_init(void);    // before anything else: reads the record, sets the stack guard
void fault_handler(void); // vector of every fault
// Record and restart by watchdog, within 2 s. text may be NULL.
__attribute__((noreturn)) void fault_stop(fault_kind_t kind, uint32_t pc, uint32_t lr, const char *text);
const fault_record_t *fault_last(void); // the fault that ended the run before this one, or NULL
// Read a word at an address where there may be nothing; false: nothing answered.
bool fault_probe(uint32_t address, uint32_t *word);
