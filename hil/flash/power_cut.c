// The board's slots and record store over a model of its flash whose power can be cut at any
// operation. Compiled with the image's own slots.c, boot_decision.c and record_store.c.
//
// Sectors 0 and 1 are the slots, 2 and 3 the records. Programming clears bits of a word, an erase
// sets all of a sector. The operation at which the power is cut is left undone and noted, or torn
// at random: bits on their way to 0 may be read as either, and differently at every later boot,
// until the word is programmed again; a sector keeps some of its bits. Nothing after it is done.

#include <string.h>

#include "record_store.h"
#include "slots.h"

#define MOST_SECTOR 0x20000u
#define MOST_UNSTABLE 64u

static uint8_t memory[4][MOST_SECTOR];
static uint32_t sector_bytes;
static struct { unsigned sector; uint32_t offset, mask; } unstable[MOST_UNSTABLE];
static unsigned unstable_count;
static uint32_t seed;
static long left;        // operations until the cut; -1: there is none
static bool torn_at_random;
static uint32_t operations;
uint32_t model_cut[4];   // kind (0 none, 1 program, 2 erase), sector, offset, word

static rs_store_t records;
static slots_t slots;
static slots_port_t port;
static uint8_t base[SLOTS_BASE_BYTES];
static char board[17];

static uint32_t dice(void) {
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^= seed << 5;
    return seed;
}

static uint32_t load(unsigned sector, uint32_t offset) {
    uint32_t word;
    memcpy(&word, &memory[sector][offset], 4);
    return word;
}

static void save(unsigned sector, uint32_t offset, uint32_t word) {
    memcpy(&memory[sector][offset], &word, 4);
}

static void settle(unsigned sector, uint32_t offset, uint32_t word, bool all) {
    for (unsigned index = 0; index < unstable_count; ++index) {
        if (unstable[index].sector == sector && (all || unstable[index].offset == offset)) {
            unstable[index].mask &= all ? 0 : word;
        }
    }
}

// Whether the power is still there; this operation may be the one it ends in.
static bool powered(uint32_t kind, unsigned sector, uint32_t offset, uint32_t word, bool *torn) {
    *torn = false;
    if (model_cut[0] != 0) {
        return false;
    }
    ++operations;
    if (left < 0 || left-- > 0) {
        return true;
    }
    const uint32_t cut[4] = {kind, sector, offset, word};
    memcpy(model_cut, cut, sizeof(cut));
    *torn = torn_at_random;
    return torn_at_random;
}

static bool program(unsigned sector, uint32_t offset, uint32_t word) {
    bool torn;
    if (!powered(1, sector, offset, word, &torn)) {
        return false;
    }
    uint32_t old = load(sector, offset);
    if (torn) {
        if (unstable_count < MOST_UNSTABLE) {
            unstable[unstable_count].sector = sector;
            unstable[unstable_count].offset = offset;
            unstable[unstable_count++].mask = old & ~word;
        }
        save(sector, offset, old & (word | dice()));
        return false;
    }
    settle(sector, offset, word, false);
    save(sector, offset, old & word);
    return true;
}

static bool erase(unsigned sector) {
    bool torn;
    if (!powered(2, sector, 0, 0, &torn)) {
        return false;
    }
    uint32_t from = torn ? dice() % sector_bytes & ~3u : 0, to = torn ? dice() % sector_bytes : sector_bytes;
    uint32_t bits = torn && dice() % 4 == 0 ? dice() : UINT32_MAX;
    for (uint32_t at = from; at < to; at += 4) {
        save(sector, at, load(sector, at) | bits);
    }
    settle(sector, 0, 0, !torn);
    return !torn;
}

static bool program_record(void *context, unsigned sector, uint32_t offset, uint32_t word) {
    (void)context;
    return program(2 + sector, offset, word);
}

static bool erase_record(void *context, unsigned sector) {
    (void)context;
    return erase(2 + sector);
}

static bool program_slot(void *context, unsigned slot, uint32_t offset, uint32_t word) {
    (void)context;
    return program(slot, offset, word);
}

static bool erase_slot(void *context, unsigned slot) {
    (void)context;
    return erase(slot);
}

void *model_memory(unsigned sector) {
    return memory[sector];
}

// A blank flash of a board of this class, with this base image.
void model_reset(const char *board_class, const uint8_t *of_base, uint32_t bytes, uint32_t new_seed,
                 void (*sha256)(const uint8_t *, size_t, uint8_t *),
                 bool (*verify)(const uint8_t *, const uint8_t *, size_t, const uint8_t *)) {
    const slots_port_t made = {
        .address = {memory[0], memory[1]}, .bytes = bytes, .board = board, .hardware = 1,
        .base = base, .program = program_slot, .erase = erase_slot,
        .sha256 = sha256, .verify = verify,
    };
    strncpy(board, board_class, sizeof(board) - 1);
    memcpy(base, of_base, sizeof(base));
    for (unsigned sector = 0; sector < 4; ++sector) {
        memset(memory[sector], 0xFF, bytes);
    }
    sector_bytes = bytes;
    seed = new_seed ? new_seed : 1;
    unstable_count = 0;
    left = -1;
    model_cut[0] = 0;
    operations = 0;
    memcpy(&port, &made, sizeof(port));
}

// Cut the power after so many more operations; below 0: never.
void model_arm(long after, bool at_random) {
    left = after;
    torn_at_random = at_random;
    model_cut[0] = 0;
    operations = 0;
}

uint32_t model_operations(void) {
    return operations;
}

// Boot; the power is back.
unsigned model_boot(bool fault, long cut_after) {
    model_arm(cut_after, true);
    for (unsigned index = 0; index < unstable_count; ++index) {
        uint32_t word = load(unstable[index].sector, unstable[index].offset);
        save(unstable[index].sector, unstable[index].offset,
             (word & ~unstable[index].mask) | (dice() & unstable[index].mask));
    }
    const rs_flash_t flash = {{memory[2], memory[3]}, sector_bytes, program_record, erase_record, NULL};
    rs_open(&records, &flash);
    slots_boot(&slots, &port, &records, fault);
    return slots.running;
}

bool model_record(const char *name, const uint8_t *data, size_t length) {
    return rs_write(&records, name, strlen(name), data, length);
}

unsigned model_check(const uint8_t *manifest) { return slots_check(&slots, manifest); }
bool model_erase(void) { return slots_erase(&slots); }
bool model_write(uint32_t offset, const uint8_t *data, size_t length) { return slots_write(&slots, offset, data, length); }
unsigned model_order(const uint8_t *manifest) { return slots_order(&slots, manifest); }
bool model_confirm(void) { return slots_confirm(&slots); }

// running, version, floor, trial, outcome, target, failed
void model_status(uint32_t status[7]) {
    const uint32_t now[7] = {slots.running, slots_version(&slots), slots.state.floor, slots_on_trial(&slots),
                             slots.state.outcome, slots_target(&slots), slots.state.failed};
    memcpy(status, now, sizeof(now));
}
