// See record_store.h.
#include "record_store.h"
#include "record_words.h"

#include <string.h>

// Behind a torn record: the word after the last one that reads programmed may only look blank.
#define GUARD (2u * WORD)
#define NONE UINT32_MAX

// --- sectors and records ---------------------------------------------------------------------

static uint32_t header_crc(uint32_t sequence) {
    return crc32_word(crc32_word(0, RS_SECTOR_MAGIC), sequence);
}

// The sector's sequence; 0: it has no valid header (sequences begin at 1). A header counts also if
// one of its bits has flipped: the CRC shows which.
static uint32_t sequence_of(const rs_store_t *store, int sector) {
    uint32_t found = load(store, sector, WORD);
    unsigned wrong = ones(load(store, sector, 0) ^ RS_SECTOR_MAGIC)
        + ones(load(store, sector, 3 * WORD) ^ RS_COMMIT);
    for (unsigned bit = 0; wrong <= 1 && bit <= 32; bit++) {
        uint32_t sequence = bit < 32 ? found ^ 1u << bit : found;
        if (sequence && wrong + (bit < 32)
            + ones(load(store, sector, 2 * WORD) ^ header_crc(sequence)) <= 1) {
            return sequence;
        }
    }
    return 0;
}

// Whether the words before the commit word of the current sector's header are what they were.
static bool header_whole(const rs_store_t *store) {
    return load(store, store->current, 0) == RS_SECTOR_MAGIC
        && load(store, store->current, WORD) == store->sequence
        && load(store, store->current, 2 * WORD) == header_crc(store->sequence);
}

static uint32_t record_bytes(size_t name_len, size_t data_len) {
    return RS_RECORD_HEADER + PADDED(name_len) + PADDED(data_len) + WORD;
}

// CRC over what a record's bytes mean where they stand; to be continued over name and data.
static uint32_t begun_crc(uint32_t sequence, uint32_t offset, size_t name_len, size_t data_len) {
    uint32_t crc = crc32_word(crc32_word(0, sequence), offset);
    return crc32_word(crc, (uint32_t)name_len | (uint32_t)data_len << 8);
}

// The lengths of the record at `offset`; false if no record can have them.
static bool lengths_at(const rs_store_t *store, int sector, uint32_t offset,
                       size_t *name_len, size_t *data_len) {
    if (store->flash.sector_bytes - offset < RS_RECORD_HEADER + WORD) {
        return false;
    }
    uint32_t lengths = load(store, sector, offset + WORD);
    *name_len = lengths & 0xFFu;
    *data_len = lengths >> 8;
    return *name_len > 0 && *name_len <= RS_NAME_MAX && *data_len <= RS_DATA_MAX
        && record_bytes(*name_len, *data_len) <= store->flash.sector_bytes - offset;
}

// Size of the record at `offset`, valid in a sector with that `sequence`; 0: there is none.
static uint32_t valid_at(const rs_store_t *store, int sector, uint32_t sequence, uint32_t offset) {
    size_t name_len, data_len;
    if (load(store, sector, offset) != RS_RECORD_MAGIC
        || !lengths_at(store, sector, offset, &name_len, &data_len)) {
        return 0;
    }
    uint32_t bytes = record_bytes(name_len, data_len);
    if (load(store, sector, offset + bytes - WORD) != RS_COMMIT) {
        return 0;
    }
    const uint8_t *name = place(store, sector, offset + RS_RECORD_HEADER);
    uint32_t crc = crc32(begun_crc(sequence, offset, name_len, data_len), name,
                         bytes - RS_RECORD_HEADER - WORD);
    if (load(store, sector, offset + 2 * WORD) != crc
        || !rs_allowed((const char *)name, name_len, data_len)) {
        return 0;
    }
    return bytes;
}

// Name and data of a record known to be valid.
static const uint8_t *record_at(const rs_store_t *store, uint32_t offset, size_t *name_len,
                                const uint8_t **data, size_t *data_len) {
    uint32_t lengths = load(store, store->current, offset + WORD);
    const uint8_t *name = place(store, store->current, offset + RS_RECORD_HEADER);
    *name_len = lengths & 0xFFu;
    *data_len = lengths >> 8;
    *data = name + PADDED(*name_len);
    return name;
}

// Index into `newest`; NONE if there is no record of that name.
static uint32_t find(const rs_store_t *store, const void *name, size_t name_len) {
    for (uint32_t index = 0; index < store->count; index++) {
        size_t len, data_len;
        const uint8_t *data;
        const uint8_t *found = record_at(store, store->newest[index], &len, &data, &data_len);
        if (len == name_len && memcmp(found, name, len) == 0) {
            return index;
        }
    }
    return NONE;
}

static void note(rs_store_t *store, uint32_t offset) {
    size_t name_len, data_len;
    const uint8_t *data;
    const uint8_t *name = record_at(store, offset, &name_len, &data, &data_len);
    uint32_t index = find(store, name, name_len);
    if (index == NONE && store->count < RS_NAMES_MAX) {
        index = store->count++;
    }
    if (index != NONE) {
        store->newest[index] = offset;
    }
    store->last = offset;
}

// Program a record; name and data may lie in the other sector.
static outcome_t emit(const rs_store_t *store, int sector, uint32_t sequence, uint32_t offset,
                      const uint8_t *name, size_t name_len, const uint8_t *data, size_t data_len) {
    const struct { const uint8_t *bytes; size_t count; } parts[2] = {
        {name, name_len}, {data, data_len}};
    const uint32_t header[3] = {
        RS_RECORD_MAGIC, (uint32_t)name_len | (uint32_t)data_len << 8,
        crc32_padded(crc32_padded(begun_crc(sequence, offset, name_len, data_len), name, name_len),
                     data, data_len)};
    outcome_t outcome;
    for (unsigned index = 0; index < 3; index++, offset += WORD) {
        if ((outcome = put(store, sector, offset, header[index])) != TAKEN) {
            // Nothing at all was taken only if the first word was not.
            return index ? DAMAGED : outcome;
        }
    }
    for (unsigned part = 0; part < 2; part++) {
        for (size_t at = 0; at < parts[part].count; at += WORD, offset += WORD) {
            uint32_t word = 0;
            for (size_t index = 0; index < WORD && at + index < parts[part].count; index++) {
                word |= (uint32_t)parts[part].bytes[at + index] << 8 * index;
            }
            if (put(store, sector, offset, word) != TAKEN) {
                return DAMAGED;
            }
        }
    }
    return put(store, sector, offset, RS_COMMIT) == TAKEN ? TAKEN : DAMAGED;
}

// --- opening ---------------------------------------------------------------------------------

// The sequence of a sector whose header was programmed and is no more: the one above `least` under
// which one of its records is valid. 0: there is none.
static uint32_t rescued(const rs_store_t *store, int sector, uint32_t least) {
    if (load(store, sector, 3 * WORD) != RS_COMMIT
        || load(store, sector, 0) == RS_KILLED_SECTOR) {
        return 0;
    }
    uint32_t end = store->flash.sector_bytes;
    unsigned tried = 0;
    for (uint32_t offset = RS_SECTOR_HEADER; offset < end && tried < RS_RECORDS_TRIED;
         offset += WORD) {
        size_t name_len, data_len;
        if (load(store, sector, offset) != RS_RECORD_MAGIC
            || !lengths_at(store, sector, offset, &name_len, &data_len)) {
            continue;
        }
        tried++;
        for (uint32_t more = 1; more <= RS_SEQUENCES_TRIED; more++) {
            if (valid_at(store, sector, least + more, offset)) {
                return least + more;
            }
        }
    }
    return 0;
}

// Whether a power cut can have left what is at `offset`, where there is no valid record, in a
// sector used up to `end`. `bytes`: how far it goes, as far as that can be known.
static bool explained(const rs_store_t *store, uint32_t offset, uint32_t end, uint32_t *bytes) {
    size_t name_len, data_len;
    uint32_t word = load(store, store->current, offset);
    *bytes = WORD;
    if (word != RS_RECORD_MAGIC && word != RS_KILLED_MAGIC) {
        // Blank, or a magic that was being programmed: all of its ones are there.
        return (word & RS_RECORD_MAGIC) == RS_RECORD_MAGIC;
    }
    bool known = lengths_at(store, store->current, offset, &name_len, &data_len);
    *bytes = known ? record_bytes(name_len, data_len) : 2 * WORD;
    // A torn record is killed at the next opening, is not committed, and nothing is behind it.
    return word == RS_KILLED_MAGIC
        || (end <= offset + *bytes
            && !(known && load(store, store->current, offset + *bytes - WORD) == RS_COMMIT));
}

// Take every valid record of the current sector; returns where the first that is none begins
// behind the last valid one.
static uint32_t scan(rs_store_t *store, uint32_t end) {
    uint32_t tail = RS_SECTOR_HEADER;
    uint32_t seen = 0;
    bool begun = false; // a record that is not valid and was not killed
    for (uint32_t offset = tail; offset < end;) {
        uint32_t bytes = valid_at(store, store->current, store->sequence, offset);
        if (bytes) {
            store->lost = store->lost || begun; // a cut one would have been killed before
            begun = false;
            note(store, offset);
            offset += bytes;
            tail = offset;
            continue;
        }
        if (offset >= seen) {
            if (!explained(store, offset, end, &bytes)) {
                store->lost = true;
            }
            begun = begun || load(store, store->current, offset) == RS_RECORD_MAGIC;
            seen = offset + bytes;
        }
        offset += WORD; // a torn header has no reliable length
    }
    return tail;
}

// Kill what a cut left between `tail` and `end`; returns the first offset to be used again.
static uint32_t bury(rs_store_t *store, uint32_t tail, uint32_t end) {
    uint32_t free = end + GUARD;
    for (uint32_t offset = tail; offset < end; offset += WORD) {
        uint32_t word = load(store, store->current, offset);
        size_t name_len, data_len;
        if (word != RS_RECORD_MAGIC && word != RS_KILLED_MAGIC) {
            continue;
        }
        // Words of ones in its data read blank: its length bounds how far it can have come.
        if (lengths_at(store, store->current, offset, &name_len, &data_len)
            && offset + record_bytes(name_len, data_len) + GUARD > free) {
            free = offset + record_bytes(name_len, data_len) + GUARD;
        }
        if (word == RS_RECORD_MAGIC
            && put(store, store->current, offset, RS_KILLED_MAGIC) != TAKEN) {
            store->writable = false;
        }
    }
    return free;
}

// Leave nothing that this boot reads one way and a later one may read the other way.
static void settle(rs_store_t *store, uint32_t tail, uint32_t end) {
    int other = 1 - store->current;
    (void)put(store, store->current, 3 * WORD, RS_COMMIT);
    if (load(store, other, 0) == RS_SECTOR_MAGIC && !sequence_of(store, other)) {
        // A compaction was cut at its very end; its header must not become valid later.
        (void)put(store, other, 0, RS_KILLED_SECTOR);
    }
    if (tail < end) {
        store->end = bury(store, tail, end);
        return;
    }
    store->end = end;
    if (store->last) {
        (void)put(store, store->current, end - WORD, RS_COMMIT);
    }
}

void rs_open(rs_store_t *store, const rs_flash_t *flash) {
    memset(store, 0, sizeof *store);
    store->flash = *flash;
    store->writable = true;
    uint32_t sequence[RS_SECTORS] = {sequence_of(store, 0), sequence_of(store, 1)};
    for (int sector = 0; sector < (int)RS_SECTORS; sector++) {
        if (!sequence[sector]) {
            sequence[sector] = rescued(store, sector, sequence[1 - sector]);
        }
    }
    int newer = sequence[1] > sequence[0] ? 1 : 0;
    store->sequence = sequence[newer];
    store->current = store->sequence ? newer : -1;
    if (store->current < 0) {
        return;
    }
    uint32_t end = used(store, store->current, RS_SECTOR_HEADER);
    settle(store, scan(store, end), end);
    if (store->lost || !header_whole(store)) {
        // The next write begins the other sector, so that the damage is behind it.
        store->end = store->flash.sector_bytes;
    }
}

// --- writing ---------------------------------------------------------------------------------

// Begin the other sector with the live records and a new one, and make it the current one. The new
// one is among them when the sector comes into force, so that nothing is between old and new; with
// a name of no bytes there is none.
static bool compact(rs_store_t *store, const char *name, size_t name_len,
                    const uint8_t *data, size_t data_len) {
    int target = store->current == 0 ? 1 : 0;
    uint32_t sequence = store->sequence + 1;
    (void)store->flash.erase(store->flash.context, (unsigned)target);
    if (used(store, target, 0) != 0) {
        return false;
    }
    uint32_t newest[RS_NAMES_MAX];
    uint32_t changed = find(store, name, name_len);
    uint32_t count = changed == NONE && name_len ? store->count + 1 : store->count;
    uint32_t end = RS_SECTOR_HEADER;
    for (uint32_t index = 0; index < count; index++) {
        size_t len = name_len, bytes = data_len;
        const uint8_t *text = (const uint8_t *)name, *content = data;
        if (index < store->count && index != changed) {
            text = record_at(store, store->newest[index], &len, &content, &bytes);
        }
        if (record_bytes(len, bytes) > store->flash.sector_bytes - end
            || emit(store, target, sequence, end, text, len, content, bytes) != TAKEN) {
            return false;
        }
        newest[index] = end;
        store->last = end;
        end += record_bytes(len, bytes);
    }
    const uint32_t header[4] = {RS_SECTOR_MAGIC, sequence, header_crc(sequence), RS_COMMIT};
    for (unsigned index = 0; index < 4; index++) {
        if (put(store, target, index * WORD, header[index]) != TAKEN) {
            return false;
        }
    }
    store->current = target;
    store->sequence = sequence;
    store->end = end;
    store->count = count;
    memcpy(store->newest, newest, sizeof newest);
    return true;
}

static outcome_t append(rs_store_t *store, const char *name, size_t name_len,
                        const uint8_t *data, size_t data_len) {
    uint32_t bytes = record_bytes(name_len, data_len);
    uint32_t offset = store->end;
    outcome_t outcome = emit(store, store->current, store->sequence, offset,
                             (const uint8_t *)name, name_len, data, data_len);
    if (outcome != REFUSED) {
        store->end = offset + bytes + (outcome == DAMAGED ? GUARD : 0);
    }
    if (outcome == TAKEN) {
        note(store, offset);
    }
    return outcome;
}

static bool make_durable(rs_store_t *store, const char *name, size_t name_len,
                         const uint8_t *data, size_t data_len) {
    if (store->count == RS_NAMES_MAX && find(store, name, name_len) == NONE) {
        return false;
    }
    if (store->current < 0 && !compact(store, name, 0, data, 0)) {
        return false; // an empty sector first: what follows is as at any other write
    }
    if (store->end <= store->flash.sector_bytes
        && store->flash.sector_bytes - store->end >= record_bytes(name_len, data_len)) {
        outcome_t outcome = append(store, name, name_len, data, data_len);
        // A medium that took nothing will not take a whole sector; a bad word is left behind.
        if (outcome != DAMAGED) {
            return outcome == TAKEN;
        }
    }
    return compact(store, name, name_len, data, data_len);
}

// --- what is public --------------------------------------------------------------------------

bool rs_allowed(const char *name, size_t name_len, size_t data_len) {
    if (name_len < 1 || name_len > RS_NAME_MAX || data_len > RS_DATA_MAX) {
        return false;
    }
    for (size_t index = 0; index < name_len; index++) {
        if (name[index] <= ' ' || name[index] > '~') {
            return false;
        }
    }
    return true;
}

bool rs_read(const rs_store_t *store, const char *name, size_t name_len,
             const uint8_t **data, size_t *data_len) {
    if (rs_kept_find(&store->kept, name, name_len, data, data_len)) {
        return true;
    }
    uint32_t index = find(store, name, name_len);
    if (index == NONE) {
        return false;
    }
    size_t len;
    (void)record_at(store, store->newest[index], &len, data, data_len);
    return true;
}

bool rs_write(rs_store_t *store, const char *name, size_t name_len,
              const uint8_t *data, size_t data_len) {
    const uint8_t *stored;
    size_t stored_len;
    if (!rs_allowed(name, name_len, data_len)) {
        return false;
    }
    if (!rs_kept_find(&store->kept, name, name_len, &stored, &stored_len)
        && rs_read(store, name, name_len, &stored, &stored_len)
        && stored_len == data_len && memcmp(stored, data, data_len) == 0) {
        return true;
    }
    store->writable = make_durable(store, name, name_len, data, data_len);
    if (store->writable) {
        rs_kept_drop(&store->kept, name, name_len);
    } else {
        rs_kept_put(&store->kept, name, name_len, data, data_len);
    }
    return store->writable;
}

bool rs_lost(const rs_store_t *store) {
    return store->lost;
}

bool rs_writable(const rs_store_t *store) {
    return store->writable;
}

unsigned rs_volatile(const rs_store_t *store) {
    return rs_kept_count(&store->kept);
}
