// The boot decision; boot_decision.h has the rules.

#include "boot_decision.h"

#include <string.h>

#define FORMAT 1u

static bool same(const uint8_t *left, const uint8_t *right) {
    return memcmp(left, right, BD_ID_BYTES) == 0;
}

static bool startable(const bd_state_t *state, const bd_slot_t *slot, const uint8_t *id) {
    return slot->whole && slot->version >= state->floor && same(slot->id, id);
}

static bool good(const bd_state_t *state, const bd_slot_t slots[BD_SLOTS], unsigned app) {
    return app != BD_BASE && startable(state, &slots[app - 1], state->good[app - 1]);
}

bd_app_t bd_confirmed(const bd_state_t *state, const bd_slot_t slots[BD_SLOTS]) {
    unsigned other = BD_SLOT_A + BD_SLOT_B - state->preferred;
    if (state->preferred == BD_BASE) {
        return BD_BASE;
    }
    if (good(state, slots, state->preferred)) {
        return (bd_app_t)state->preferred;
    }
    return good(state, slots, other) ? (bd_app_t)other : BD_BASE;
}

static void end_trial(bd_state_t *state, bd_outcome_t outcome) {
    state->pending = BD_BASE;
    state->started = 0;
    state->failed = 0;
    state->outcome = (uint8_t)outcome;
}

bd_app_t bd_decide(bd_state_t *state, const bd_slot_t slots[BD_SLOTS], bool fault) {
    if (state->pending != BD_BASE) {
        if (state->started && fault) {
            ++state->failed;
        }
        if (state->failed >= BD_TRIALS) {
            end_trial(state, BD_REVERTED);
        } else if (!startable(state, &slots[state->pending - 1], state->trial)) {
            end_trial(state, BD_REFUSED);
        } else {
            state->started = 1;
            state->outcome = BD_ON_TRIAL;
            return (bd_app_t)state->pending;
        }
    }
    bd_app_t chosen = bd_confirmed(state, slots);
    if (chosen != (bd_app_t)state->preferred && state->outcome == BD_CONFIRMED) {
        state->outcome = BD_DAMAGED; // noted once: it stays until the next update
    }
    return chosen;
}

void bd_order(bd_state_t *state, bd_app_t app, const uint8_t id[BD_ID_BYTES]) {
    end_trial(state, BD_PENDING);
    state->pending = (uint8_t)app;
    memcpy(state->trial, id, BD_ID_BYTES);
}

bool bd_confirm(bd_state_t *state, const bd_slot_t *slot) {
    if (state->pending == BD_BASE || !state->started || !same(slot->id, state->trial)) {
        return false;
    }
    uint32_t floor = slot->floor < slot->version ? slot->floor : slot->version;
    state->preferred = state->pending;
    memcpy(state->good[state->pending - 1], state->trial, BD_ID_BYTES);
    if (floor > state->floor) {
        state->floor = floor;
    }
    end_trial(state, BD_CONFIRMED);
    return true;
}

void bd_encode(const bd_state_t *state, uint8_t record[BD_RECORD_BYTES]) {
    const uint8_t head[] = {FORMAT, state->preferred, state->pending, state->started, state->failed,
                            state->outcome, 0, 0};
    memcpy(record, head, sizeof(head));
    for (unsigned index = 0; index < 4; ++index) {
        record[8 + index] = (uint8_t)(state->floor >> 8 * index);
    }
    memcpy(record + 12, state->good, sizeof(state->good));
    memcpy(record + 28, state->trial, BD_ID_BYTES);
}

void bd_decode(bd_state_t *state, const uint8_t *record, size_t length) {
    memset(state, 0, sizeof(*state));
    if (length != BD_RECORD_BYTES || record[0] != FORMAT || record[1] > BD_SLOT_B ||
        record[2] > BD_SLOT_B || record[5] >= BD_OUTCOMES) {
        return;
    }
    state->preferred = record[1];
    state->pending = record[2];
    state->started = record[3];
    state->failed = record[4];
    state->outcome = record[5];
    for (unsigned index = 0; index < 4; ++index) {
        state->floor |= (uint32_t)record[8 + index] << 8 * index;
    }
    memcpy(state->good, record + 12, sizeof(state->good));
    memcpy(state->trial, record + 28, BD_ID_BYTES);
}
