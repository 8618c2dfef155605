// Records that the medium did not take stay in RAM until the next reset.
#ifndef RECORD_KEPT_H
#define RECORD_KEPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RS_VOLATILE_BYTES 1280u // RAM for all of them

typedef struct {
    uint32_t bytes;                    // used of `entries`
    uint8_t entries[RS_VOLATILE_BYTES]; // name length, data length (2), name, data; ...
} rs_kept_t;

// Look a record up. Its data stay valid until the next call that changes `kept`.
bool rs_kept_find(const rs_kept_t *kept, const char *name, size_t name_len,
                  const uint8_t **data, size_t *data_len);

// Replace a record, if there is room for it.
void rs_kept_put(rs_kept_t *kept, const char *name, size_t name_len,
                 const uint8_t *data, size_t data_len);

void rs_kept_drop(rs_kept_t *kept, const char *name, size_t name_len);

unsigned rs_kept_count(const rs_kept_t *kept);

#endif
