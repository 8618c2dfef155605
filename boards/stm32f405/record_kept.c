// See record_kept.h.
#include "record_kept.h"

#include <string.h>

#define HEAD 3u
#define NONE UINT32_MAX

static uint32_t data_bytes(const uint8_t *entry) {
    return entry[1] | (uint32_t)entry[2] << 8;
}

static uint32_t entry_bytes(const uint8_t *entry) {
    return HEAD + entry[0] + data_bytes(entry);
}

// Offset in `entries`; NONE if that name is not there.
static uint32_t find(const rs_kept_t *kept, const char *name, size_t name_len) {
    for (uint32_t at = 0; at < kept->bytes; at += entry_bytes(kept->entries + at)) {
        const uint8_t *entry = kept->entries + at;
        if (entry[0] == name_len && memcmp(entry + HEAD, name, name_len) == 0) {
            return at;
        }
    }
    return NONE;
}

bool rs_kept_find(const rs_kept_t *kept, const char *name, size_t name_len,
                  const uint8_t **data, size_t *data_len) {
    uint32_t at = find(kept, name, name_len);
    if (at == NONE) {
        return false;
    }
    *data = kept->entries + at + HEAD + name_len;
    *data_len = data_bytes(kept->entries + at);
    return true;
}

void rs_kept_drop(rs_kept_t *kept, const char *name, size_t name_len) {
    uint32_t at = find(kept, name, name_len);
    if (at != NONE) {
        uint32_t bytes = entry_bytes(kept->entries + at);
        kept->bytes -= bytes;
        memmove(kept->entries + at, kept->entries + at + bytes, kept->bytes - at);
    }
}

void rs_kept_put(rs_kept_t *kept, const char *name, size_t name_len,
                 const uint8_t *data, size_t data_len) {
    uint32_t at = find(kept, name, name_len);
    uint32_t old = at == NONE ? 0 : entry_bytes(kept->entries + at);
    uint32_t bytes = HEAD + (uint32_t)name_len + (uint32_t)data_len;
    if (kept->bytes - old + bytes > RS_VOLATILE_BYTES) {
        return;
    }
    rs_kept_drop(kept, name, name_len);
    uint8_t *entry = kept->entries + kept->bytes;
    entry[0] = (uint8_t)name_len;
    entry[1] = (uint8_t)data_len;
    entry[2] = (uint8_t)(data_len >> 8);
    memcpy(entry + HEAD, name, name_len);
    memcpy(entry + HEAD + name_len, data, data_len);
    kept->bytes += bytes;
}

unsigned rs_kept_count(const rs_kept_t *kept) {
    unsigned count = 0;
    for (uint32_t at = 0; at < kept->bytes; at += entry_bytes(kept->entries + at)) {
        count++;
    }
    return count;
}
