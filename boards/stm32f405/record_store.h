// A power-cut-safe store of small named records in two flash sectors.
//
// Plain C99 without any include of the port: the node's image and the host's tests compile the
// same file. boards/recordstore.py is the second implementation of the layout.
//
// Medium. NOR flash as of RM0090 chapter 3: 32 bit words, programming turns 1 into 0, only a sector
// erase turns 0 into 1, and reading works at any time. Assumed of a power cut, and no more:
//   - in the word being programmed each bit on its way from 1 to 0 may read as either, and
//     differently at every later boot; its other bits are as they were;
//   - the sector being erased may read as anything, a blank sector included;
//   - every other word is as it was.
//
// Layout. All words are little endian.
//   sector  RS_SECTOR_MAGIC, sequence, CRC-32(magic, sequence), RS_COMMIT; then records
//   record  RS_RECORD_MAGIC, name length | data length << 8, CRC-32, name, data, RS_COMMIT
// Name and data are each padded with zeros to whole words. A record's CRC covers the sector's
// sequence, the record's offset in the sector and everything between its CRC and its commit, so
// that bytes which were part of another record, or of another life of the sector, never count.
//
// Rules that make it safe.
//   - Records are only ever appended; the last valid one of a name counts.
//   - The commit word is programmed last. A record without it does not count.
//   - Nothing is programmed where a cut may have left a word that only looks blank: after a torn
//     tail the next record begins behind everything the torn one can have touched. The one word
//     that may be hit twice is a magic, and it is programmed with the same value again.
//   - What a cut left in doubt is settled when the store is opened: a torn record is killed, the
//     last whole one has its commit programmed again. So a boot never sees what the boot before
//     it did not see.
//   - A full sector is compacted: the other sector is erased, always (an erase that was cut short
//     can leave a sector that reads blank and does not last), the live records are copied, the new
//     one among them, and its header, last, makes it the current one. The old sector stays as it
//     is until then.
//
// Damage. What no power cut can have left (a flipped bit, bytes that became 0) costs no more than
// the records it is in:
//   - A header with one flipped bit counts; one that is worse is found again by its records, whose
//     CRCs cover the sequence.
//   - Where a record was and is no more, an older one of its name may count in its place. rs_lost
//     reports that, and the boot epoch then leaves a wide gap instead of being used twice.
//   - The next write compacts, so that damage is left behind, and reported once.
//
// Wear. One erase per sector for every two sectors filled. A boot writes two epoch records of
// 40 bytes, so 128 KiB last 1600 boots and 10,000 cycles (DS8626, table "Flash memory endurance")
// of two sectors 32 million; one changed setting a minute, 200 bytes, lasts 24 years.
//
// A medium that does not take what is programmed (an emulator's ROM, a write-protected or worn
// sector) is no error to stop for: the record is kept in RAM until the next reset, reads see it,
// and rs_write returns false.
#ifndef RECORD_STORE_H
#define RECORD_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "record_kept.h"

#define RS_SECTORS 2u
#define RS_NAME_MAX 15u       // bytes of a name, 1 to this, printable ASCII without space
#define RS_DATA_MAX 1024u     // bytes of a record's data, 0 to this
#define RS_NAMES_MAX 16u      // different names in one store

#define RS_BLANK 0xFFFFFFFFu        // an erased word
#define RS_SECTOR_MAGIC 0x31534654u // "TFS1"
#define RS_RECORD_MAGIC 0x31524654u // "TFR1"
#define RS_KILLED_MAGIC 0x01024244u // what a record's magic becomes; bits of RS_RECORD_MAGIC only
#define RS_KILLED_SECTOR 0x01424044u // the same of a sector's magic
#define RS_COMMIT 0x00000000u       // every bit had to be programmed to get there

#define RS_RECORDS_TRIED 8u      // records of a sector without header that are looked at, and
#define RS_SEQUENCES_TRIED 4096u // sequences that each is tried with: 13 million boots

#define RS_SECTOR_HEADER 16u // bytes
#define RS_RECORD_HEADER 12u // bytes

// The flash. `program` and `erase` return false if the controller reports an error; whether the
// medium took the word is checked by reading it back, so what they return only saves time.
// `sector` are the addresses at which the two sectors are read, 4-aligned.
typedef struct {
    const uint8_t *sector[RS_SECTORS];
    uint32_t sector_bytes;
    bool (*program)(void *context, unsigned sector, uint32_t offset, uint32_t word);
    bool (*erase)(void *context, unsigned sector);
    void *context;
} rs_flash_t;

typedef struct {
    rs_flash_t flash;
    int current;       // sector in use; -1: none is formatted
    uint32_t sequence; // of the current sector: how often a sector was begun
    uint32_t end;      // offset at which the next record goes
    uint32_t last;     // offset of the newest valid record, 0: none
    bool writable;     // false since a write failed, until one succeeds
    bool lost;         // see rs_lost
    uint32_t count;    // entries of `newest`
    uint32_t newest[RS_NAMES_MAX];           // offset of the valid record of each name
    rs_kept_t kept;                          // what the medium did not take
} rs_store_t;

// Find what is there and settle what a cut left in doubt. At most three words are programmed
// after a clean power-down, nothing is erased.
void rs_open(rs_store_t *store, const rs_flash_t *flash);

// Look a record up. Its data stay valid until the next rs_write.
bool rs_read(const rs_store_t *store, const char *name, size_t name_len,
             const uint8_t **data, size_t *data_len);

// Store a record. True once it is on the medium; nothing is written if it is there already.
// False: the name or the length is not allowed (rs_allowed), or the medium did not take it. In the
// second case reads give the new data until the next reset, if there was room for it in RAM.
// Takes the time of an erase (1 to 2 s for 128 KiB) when the sector is full.
bool rs_write(rs_store_t *store, const char *name, size_t name_len,
              const uint8_t *data, size_t data_len);

// Whether name and length are within the caps.
bool rs_allowed(const char *name, size_t name_len, size_t data_len);

// Whether damage was found, at opening, where a newer record may have been than the one that counts.
bool rs_lost(const rs_store_t *store);

// False if the last write failed.
bool rs_writable(const rs_store_t *store);

// Number of records kept in RAM only.
unsigned rs_volatile(const rs_store_t *store);

#endif
