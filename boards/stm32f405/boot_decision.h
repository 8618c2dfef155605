// Which application starts at a boot, decided from what the flash holds, and nothing else.
//
// Plain C99 without any include of the port: the image and the host's tests compile the same file.
// There are three applications: the one frozen into the base image, and one in each of two slots.
//   - A slot counts only while it is whole: its header is signed, its content has the digest that
//     the header gives, and it was made for this base (slots.c looks at every boot).
//   - A new image is started on trial. It is confirmed by the running node (slots_confirm), or
//     BD_TRIALS of its runs end in a watchdog or a fault, and it is never started again. A power
//     cut says nothing about an image, so a boot after one is not counted.
//   - Without a trial the slot that was confirmed last starts; if it is damaged the other one, if
//     that was confirmed once; else the base, which is always there.
//   - Nothing starts from a slot below the floor, which rises only when an image is confirmed.
#ifndef BOOT_DECISION_H
#define BOOT_DECISION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BD_SLOTS 2u
#define BD_TRIALS 3u   // runs of a new image that may fail
#define BD_ID_BYTES 8u // of the digest of an image: its name in the record
#define BD_RECORD_BYTES 36u

typedef enum { BD_BASE, BD_SLOT_A, BD_SLOT_B } bd_app_t;

// What became of the last update.
typedef enum {
    BD_NONE,
    BD_PENDING,   // ordered, starts at the next boot
    BD_ON_TRIAL,
    BD_CONFIRMED,
    BD_REFUSED,   // the slot was not whole when it should have started
    BD_REVERTED,  // its trials failed
    BD_DAMAGED,   // the confirmed slot is whole no more
    BD_OUTCOMES
} bd_outcome_t;

// What the record holds; all zero on a board that was never updated.
typedef struct {
    uint8_t preferred; // bd_app_t: confirmed last
    uint8_t pending;   // bd_app_t: ordered or on trial; BD_BASE: none
    uint8_t started;   // the pending one was started: without it a fault was another one's
    uint8_t failed;    // runs of the pending one that ended in a fault
    uint8_t outcome;   // bd_outcome_t
    uint32_t floor;    // versions below it never start
    uint8_t good[BD_SLOTS][BD_ID_BYTES]; // image that was confirmed in each slot
    uint8_t trial[BD_ID_BYTES];          // image that is pending
} bd_state_t;

// What a look at a slot found.
typedef struct {
    bool whole;
    uint32_t version;
    uint32_t floor; // that the image asks for
    uint8_t id[BD_ID_BYTES];
} bd_slot_t;

// Decide, and bring `state` up to date. `fault`: the run before ended in a watchdog or a fault.
// The choice of a slot on trial holds only if the changed state could be stored before it starts.
bd_app_t bd_decide(bd_state_t *state, const bd_slot_t slots[BD_SLOTS], bool fault);

// The choice without a trial; changes nothing.
bd_app_t bd_confirmed(const bd_state_t *state, const bd_slot_t slots[BD_SLOTS]);

// Note the order to start `app` with the image `id`.
void bd_order(bd_state_t *state, bd_app_t app, const uint8_t id[BD_ID_BYTES]);

// Note that the image on trial proved itself; false: none is on trial.
bool bd_confirm(bd_state_t *state, const bd_slot_t *slot);

// The record's bytes. Reading anything else than a record gives the state of a new board.
void bd_encode(const bd_state_t *state, uint8_t record[BD_RECORD_BYTES]);
void bd_decode(bd_state_t *state, const uint8_t *record, size_t length);

#endif
