// Two slots for applications in the flash, each a signed header and an image behind it.
//
// Plain C99 without any include of the port: the image and the host's tests compile the same file.
//   slot    manifest of 160 bytes, blank up to SLOTS_HEADER; then the image (a ROMFS)
//   manifest, big endian (protocols/wire/update/manifest.py is the other implementation):
//           0 "TFU1", 4 format 1, 5 flags, 6 least and 7 greatest hardware revision, 8 class (16),
//           24 version, 28 floor, 32 rollback from version, 36 base (8), 44 size, 48 SHA-256 (32),
//           80 key and reserved (16), 96 Ed25519 signature over the 96 bytes before it
// The image is written first and the manifest last. What is in a slot is believed only after a look
// at all of it (signature and SHA-256), at every boot, so the order of the words in between, and
// what a cut made of them, do not matter. The record "slots" (boot_decision.h) has the rest.
#ifndef SLOTS_H
#define SLOTS_H

#include "boot_decision.h"
#include "record_store.h"

#define SLOTS_MANIFEST 160u
#define SLOTS_HEADER 512u // bytes of a slot in front of its image
#define SLOTS_BASE_BYTES 8u
#define SLOTS_KEYS 2u     // release keys that count beside each other
#define SLOTS_RECORD "slots"
#define SLOTS_KEY_RECORD "release" // one or two Ed25519 public keys of 32 bytes

// Why a manifest is not taken. The numbers are shown in a register of the node.
typedef enum {
    SLOTS_GOOD,
    SLOTS_FORM,      // no manifest of this format
    SLOTS_NO_KEY,    // the board has no release key
    SLOTS_SIGNATURE, // by none of the board's release keys
    SLOTS_CLASS,     // for another board
    SLOTS_HARDWARE,  // for other revisions of the board
    SLOTS_VERSION,   // not above the running version, and no order to roll back from it
    SLOTS_FLOOR,     // below the floor
    SLOTS_OTHER_BASE, // for another base image
    SLOTS_TOO_LARGE, // for a slot
    SLOTS_TRIAL,     // an image is on trial
    SLOTS_DIGEST,    // the image in the slot is another one
    SLOTS_MEDIUM,    // the flash did not take it
} slots_refusal_t;

// What the port gives. `slot` numbers are 0 and 1; offsets count from the begin of the slot.
typedef struct {
    const uint8_t *address[BD_SLOTS];
    uint32_t bytes; // of one slot
    const char *board;
    uint8_t hardware;
    const uint8_t *base; // SLOTS_BASE_BYTES that an image must be made for
    bool (*program)(void *context, unsigned slot, uint32_t offset, uint32_t word);
    bool (*erase)(void *context, unsigned slot);
    void (*sha256)(const uint8_t *data, size_t length, uint8_t digest[32]);
    bool (*verify)(const uint8_t key[32], const uint8_t *data, size_t length, const uint8_t signature[64]);
    void *context;
} slots_port_t;

typedef struct {
    const slots_port_t *port;
    rs_store_t *store;
    bd_state_t state;
    bd_slot_t found[BD_SLOTS]; // at boot
    bd_app_t running;
} slots_t;

// Decide what this boot starts. `fault`: the run before ended in a watchdog or a fault.
void slots_boot(slots_t *slots, const slots_port_t *port, rs_store_t *store, bool fault);

bool slots_on_trial(const slots_t *slots);
uint32_t slots_version(const slots_t *slots); // of what runs; 0: the base
bd_app_t slots_target(const slots_t *slots);  // where an update goes; BD_BASE: nowhere now

// Whether an image with this manifest may be received. Nothing is written.
slots_refusal_t slots_check(const slots_t *slots, const uint8_t manifest[SLOTS_MANIFEST]);

// Erase the target. An order to start what it held is dropped first.
bool slots_erase(slots_t *slots);

// Program whole words of the target's image; the same bytes again are as good as the first time.
bool slots_write(slots_t *slots, uint32_t offset, const uint8_t *data, size_t length);

// The target's image; NULL: there is no target, or it does not reach that far.
const uint8_t *slots_image(const slots_t *slots, uint32_t offset, size_t length);

// Write the header and the order to start the image at the next boot.
slots_refusal_t slots_order(slots_t *slots, const uint8_t manifest[SLOTS_MANIFEST]);

// The running application proved itself. True also if it was not on trial.
bool slots_confirm(slots_t *slots);

#endif
