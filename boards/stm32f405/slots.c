// The slots; slots.h has their layout.

#include "slots.h"

#include <string.h>

#define FLAG_ROLLBACK 1u
#define SIGNED_BYTES 96u

enum { AT_FORMAT = 4, AT_FLAGS = 5, AT_LEAST = 6, AT_MOST = 7, AT_CLASS = 8, AT_VERSION = 24,
       AT_FLOOR = 28, AT_FROM = 32, AT_BASE = 36, AT_SIZE = 44, AT_DIGEST = 48, CLASS_BYTES = 16 };

static uint32_t number(const uint8_t *at) {
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static bool of_board(const uint8_t *manifest, const char *board) {
    size_t length = strlen(board);
    if (length > CLASS_BYTES || memcmp(manifest + AT_CLASS, board, length) != 0) {
        return false;
    }
    while (length < CLASS_BYTES && manifest[AT_CLASS + length] == 0) {
        ++length;
    }
    return length == CLASS_BYTES;
}

static slots_refusal_t check_signature(const slots_t *slots, const uint8_t *manifest) {
    const uint8_t *keys;
    size_t length;
    if (!rs_read(slots->store, SLOTS_KEY_RECORD, sizeof(SLOTS_KEY_RECORD) - 1, &keys, &length) ||
        length == 0 || length % 32 != 0 || length > 32 * SLOTS_KEYS) {
        return SLOTS_NO_KEY;
    }
    for (size_t at = 0; at < length; at += 32) {
        if (slots->port->verify(keys + at, manifest, SIGNED_BYTES, manifest + SIGNED_BYTES)) {
            return SLOTS_GOOD;
        }
    }
    return SLOTS_SIGNATURE;
}

// What does not depend on what runs; so it holds at a boot as it did when the image was received.
static slots_refusal_t check_manifest(const slots_t *slots, const uint8_t *manifest) {
    const slots_port_t *port = slots->port;
    if (memcmp(manifest, "TFU1", 4) != 0 || manifest[AT_FORMAT] != 1) {
        return SLOTS_FORM;
    }
    slots_refusal_t why = check_signature(slots, manifest);
    if (why != SLOTS_GOOD) {
        return why;
    }
    if (!of_board(manifest, port->board)) {
        return SLOTS_CLASS;
    }
    if (port->hardware < manifest[AT_LEAST] || port->hardware > manifest[AT_MOST]) {
        return SLOTS_HARDWARE;
    }
    if (memcmp(manifest + AT_BASE, port->base, SLOTS_BASE_BYTES) != 0) {
        return SLOTS_OTHER_BASE;
    }
    uint32_t size = number(manifest + AT_SIZE);
    return size == 0 || size % 4 != 0 || size > port->bytes - SLOTS_HEADER ? SLOTS_TOO_LARGE : SLOTS_GOOD;
}

static bool has_digest(const slots_t *slots, unsigned slot, const uint8_t *manifest) {
    uint8_t digest[32];
    slots->port->sha256(slots->port->address[slot] + SLOTS_HEADER, number(manifest + AT_SIZE), digest);
    return memcmp(digest, manifest + AT_DIGEST, sizeof(digest)) == 0;
}

static void look(slots_t *slots, unsigned slot) {
    const uint8_t *manifest = slots->port->address[slot];
    bd_slot_t *found = &slots->found[slot];
    memset(found, 0, sizeof(*found));
    if (check_manifest(slots, manifest) == SLOTS_GOOD && has_digest(slots, slot, manifest)) {
        found->whole = true;
        found->version = number(manifest + AT_VERSION);
        found->floor = number(manifest + AT_FLOOR);
        memcpy(found->id, manifest + AT_DIGEST, BD_ID_BYTES);
    }
}

static bool store(slots_t *slots, const bd_state_t *state) {
    uint8_t record[BD_RECORD_BYTES];
    bd_encode(state, record);
    if (!rs_write(slots->store, SLOTS_RECORD, sizeof(SLOTS_RECORD) - 1, record, sizeof(record))) {
        return false;
    }
    slots->state = *state;
    return true;
}

void slots_boot(slots_t *slots, const slots_port_t *port, rs_store_t *records, bool fault) {
    const uint8_t *record;
    size_t length;
    slots->port = port;
    slots->store = records;
    if (!rs_read(records, SLOTS_RECORD, sizeof(SLOTS_RECORD) - 1, &record, &length)) {
        length = 0;
    }
    bd_decode(&slots->state, record, length);
    for (unsigned slot = 0; slot < BD_SLOTS; ++slot) {
        look(slots, slot);
    }
    bd_state_t state = slots->state;
    slots->running = bd_decide(&state, slots->found, fault);
    if (memcmp(&state, &slots->state, sizeof(state)) == 0 || store(slots, &state)) {
        return;
    }
    if (state.pending != BD_BASE) {
        // A trial that leaves no trace could go on for ever.
        slots->running = bd_confirmed(&slots->state, slots->found);
    } else {
        slots->state = state; // decided anew at the next boot
    }
}

bool slots_on_trial(const slots_t *slots) {
    return slots->running != BD_BASE && slots->state.started && slots->state.pending == slots->running;
}

uint32_t slots_version(const slots_t *slots) {
    return slots->running == BD_BASE ? 0 : slots->found[slots->running - 1].version;
}

bd_app_t slots_target(const slots_t *slots) {
    if (slots_on_trial(slots)) {
        return BD_BASE; // the other slot is where a failed trial goes back to
    }
    unsigned kept = slots->running != BD_BASE ? slots->running : slots->state.preferred;
    return kept == BD_SLOT_A ? BD_SLOT_B : BD_SLOT_A;
}

slots_refusal_t slots_check(const slots_t *slots, const uint8_t manifest[SLOTS_MANIFEST]) {
    slots_refusal_t why = check_manifest(slots, manifest);
    if (why != SLOTS_GOOD) {
        return why;
    }
    uint32_t version = number(manifest + AT_VERSION);
    uint32_t runs = slots_version(slots);
    if (version < slots->state.floor) {
        return SLOTS_FLOOR;
    }
    bool back = (manifest[AT_FLAGS] & FLAG_ROLLBACK) != 0 && number(manifest + AT_FROM) == runs;
    if (version <= runs && !back) {
        return SLOTS_VERSION;
    }
    return slots_on_trial(slots) ? SLOTS_TRIAL : SLOTS_GOOD;
}

bool slots_erase(slots_t *slots) {
    bd_app_t target = slots_target(slots);
    if (target == BD_BASE) {
        return false;
    }
    if (slots->state.pending != BD_BASE) {
        bd_state_t state = slots->state;
        state.pending = BD_BASE;
        state.started = 0;
        state.failed = 0;
        if (!store(slots, &state)) {
            return false;
        }
    }
    slots->found[target - 1].whole = false;
    return slots->port->erase(slots->port->context, target - 1);
}

static bool program(slots_t *slots, unsigned slot, uint32_t offset, const uint8_t *data, size_t length) {
    const slots_port_t *port = slots->port;
    for (size_t at = 0; at < length; at += 4) {
        uint32_t word;
        memcpy(&word, data + at, sizeof(word));
        if (word != UINT32_MAX && !port->program(port->context, slot, offset + (uint32_t)at, word)) {
            return false;
        }
    }
    return memcmp(port->address[slot] + offset, data, length) == 0;
}

const uint8_t *slots_image(const slots_t *slots, uint32_t offset, size_t length) {
    bd_app_t target = slots_target(slots);
    uint32_t room = slots->port->bytes - SLOTS_HEADER;
    if (target == BD_BASE || offset > room || length > room - offset) {
        return NULL;
    }
    return slots->port->address[target - 1] + SLOTS_HEADER + offset;
}

bool slots_write(slots_t *slots, uint32_t offset, const uint8_t *data, size_t length) {
    if (slots_image(slots, offset, length) == NULL || offset % 4 != 0 || length % 4 != 0) {
        return false;
    }
    unsigned slot = slots_target(slots) - 1u;
    slots->found[slot].whole = false;
    return program(slots, slot, SLOTS_HEADER + offset, data, length);
}

slots_refusal_t slots_order(slots_t *slots, const uint8_t manifest[SLOTS_MANIFEST]) {
    slots_refusal_t why = slots_check(slots, manifest);
    if (why != SLOTS_GOOD) {
        return why;
    }
    bd_app_t target = slots_target(slots);
    unsigned slot = target - 1u;
    const uint8_t *address = slots->port->address[slot];
    // A word that a cut tore may read right today: programming it once more makes it last.
    if (!has_digest(slots, slot, manifest) ||
        !program(slots, slot, SLOTS_HEADER, address + SLOTS_HEADER, number(manifest + AT_SIZE)) ||
        !has_digest(slots, slot, manifest)) {
        return SLOTS_DIGEST;
    }
    bd_state_t state = slots->state;
    bd_order(&state, target, manifest + AT_DIGEST);
    // An image that was there at boot has its header: a way back is ordered with another manifest.
    const bd_slot_t *found = &slots->found[slot];
    bool headed = found->whole && memcmp(found->id, state.trial, BD_ID_BYTES) == 0 &&
                  found->version == number(manifest + AT_VERSION);
    headed = headed || program(slots, slot, 0, manifest, SLOTS_MANIFEST);
    return headed && store(slots, &state) ? SLOTS_GOOD : SLOTS_MEDIUM;
}

bool slots_confirm(slots_t *slots) {
    if (!slots_on_trial(slots)) {
        return true;
    }
    bd_state_t state = slots->state;
    return bd_confirm(&state, &slots->found[slots->running - 1]) && store(slots, &state);
}
