// Reset causes: a record in RAM that a reset leaves alone, beside the chip's own flags.
//
// The record answers why the chip was reset where RCC_CSR cannot: it has one flag
// for a fault and a hang, and the emulators do not set it (QEMU's reads 0, Renode's always "power on").

#include "reset.h"

#include <string.h>

#include "layout.h"
#include "port.h"
#include "regs.h"

#define MAGIC (0x7F4A1C05u)

typedef enum { INTENT_NONE, INTENT_COMMAND, INTENT_FAULT } intent_t;

typedef struct {
    uint32_t magic;
    uint32_t intent;
    uint32_t watchdog_runs;
    uint32_t note[RESET_NOTE_WORDS];
    uint32_t seal;
} record_t;

_Static_assert(sizeof(record_t) <= LAYOUT_RECORD_SIZE, "LAYOUT_RECORD_SIZE is too small");

extern record_t record_start; // by the linker script, in no section: nothing initialises it

static reset_cause_t cause;

static uint32_t seal_of(const record_t *record) {
    uint32_t sum = 0;
    for (const uint32_t *word = (const uint32_t *)record; word < &record->seal; ++word) {
        sum = (sum << 1 | sum >> 31) ^ *word;
    }
    return ~sum;
}

static void seal(void) {
    record_start.magic = MAGIC;
    record_start.seal = seal_of(&record_start);
    barrier();
}

static reset_cause_t find_cause(bool known, uint32_t csr) {
    if (csr & (RCC_CSR_IWDGRSTF | RCC_CSR_WWDGRSTF)) {
        return RESET_WATCHDOG;
    }
    if (known && record_start.intent == INTENT_FAULT) {
        return RESET_WATCHDOG; // the fault's own request came before a watchdog did
    }
    if (known && record_start.intent == INTENT_COMMAND) {
        return RESET_COMMAND;
    }
    bool pin_alone = (csr & RCC_CSR_PINRSTF) && !(csr & RCC_CSR_PORRSTF);
    if (known && record_start.watchdog_runs && !pin_alone) {
        // Only a watchdog ends a run without a word. RAM that survived outweighs PORRSTF: it does
        // not survive a real power-on, and Renode shows PORRSTF after every reset.
        return RESET_WATCHDOG;
    }
    return known || pin_alone ? RESET_PIN : RESET_POWER_ON;
}

bool reset_init(void *note, size_t size) {
    uint32_t csr = RCC->CSR;
    RCC->CSR = csr | RCC_CSR_RMVF;
    bool known = record_start.magic == MAGIC && record_start.seal == seal_of(&record_start);
    cause = find_cause(known, csr);
    bool left = known && record_start.intent == INTENT_FAULT;
    if (left) {
        memcpy(note, record_start.note, size);
    }
    memset(&record_start, 0, sizeof(record_start));
    seal();
    return left;
}

reset_cause_t reset_cause(void) {
    return cause;
}

void reset_watchdog_runs(void) {
    record_start.watchdog_runs = 1;
    seal();
}

void *reset_note(void) {
    return record_start.note;
}

void reset_seal_note(void) {
    record_start.intent = INTENT_FAULT;
    seal();
}

void reset_now(void) {
    barrier();
    SCB->AIRCR = SCB_AIRCR_SYSRESETREQ;
    for (;;) {
    }
}

void reset_by_command(void) {
    (void)irq_off();
    record_start.intent = INTENT_COMMAND;
    seal();
    reset_now();
}
