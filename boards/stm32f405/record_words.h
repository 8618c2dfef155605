// What record_store.c does with single words of the flash, and its CRC; included by it alone.
#ifndef RECORD_WORDS_H
#define RECORD_WORDS_H

#include "record_store.h"

#define WORD 4u
#define PADDED(bytes) (((uint32_t)(bytes) + 3u) & ~3u)

typedef enum { TAKEN, REFUSED, DAMAGED } outcome_t;

// CRC-32 (IEEE 802.3, as zlib's), four bits at a time: 64 bytes of table are enough.
static uint32_t crc32(uint32_t crc, const void *bytes, size_t count) {
    static const uint32_t table[16] = {
        0x00000000u, 0x1DB71064u, 0x3B6E20C8u, 0x26D930ACu, 0x76DC4190u, 0x6B6B51F4u,
        0x4DB26158u, 0x5005713Cu, 0xEDB88320u, 0xF00F9344u, 0xD6D6A3E8u, 0xCB61B38Cu,
        0x9B64C2B0u, 0x86D3D2D4u, 0xA00AE278u, 0xBDBDF21Cu,
    };
    const uint8_t *byte = bytes;
    crc = ~crc;
    while (count--) {
        crc ^= *byte++;
        crc = crc >> 4 ^ table[crc & 15u];
        crc = crc >> 4 ^ table[crc & 15u];
    }
    return ~crc;
}

static uint32_t crc32_word(uint32_t crc, uint32_t word) {
    uint8_t bytes[WORD] = {
        (uint8_t)word, (uint8_t)(word >> 8), (uint8_t)(word >> 16), (uint8_t)(word >> 24)};
    return crc32(crc, bytes, WORD);
}

// CRC over `count` bytes and the zeros that pad them to whole words.
static uint32_t crc32_padded(uint32_t crc, const uint8_t *bytes, size_t count) {
    static const uint8_t zeros[WORD];
    return crc32(crc32(crc, bytes, count), zeros, PADDED(count) - count);
}

static const uint8_t *place(const rs_store_t *store, int sector, uint32_t offset) {
    return store->flash.sector[sector] + offset;
}

static uint32_t load(const rs_store_t *store, int sector, uint32_t offset) {
    // Volatile: what is read after programming must come from the flash.
    return *(const volatile uint32_t *)(const void *)place(store, sector, offset);
}

// Program one word and read it back. A word of ones is a blank one's content already.
static outcome_t put(const rs_store_t *store, int sector, uint32_t offset, uint32_t word) {
    if (word != RS_BLANK) {
        (void)store->flash.program(store->flash.context, (unsigned)sector, offset, word);
    }
    uint32_t found = load(store, sector, offset);
    return found == word ? TAKEN : found == RS_BLANK ? REFUSED : DAMAGED;
}

// Offset behind the last word that does not read blank, at least `from`.
static uint32_t used(const rs_store_t *store, int sector, uint32_t from) {
    uint32_t end = store->flash.sector_bytes;
    while (end > from && load(store, sector, end - WORD) == RS_BLANK) {
        end -= WORD;
    }
    return end;
}

static unsigned ones(uint32_t word) {
    unsigned count = 0;
    for (; word; word &= word - 1) {
        count++;
    }
    return count;
}

#endif
