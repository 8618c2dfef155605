// Reads the unique id (RM0090 chapter 39.1), which an emulation may leave out: QEMU answers with a
// bus error.

#include "uid.h"

#include <string.h>

#include "fault.h"
#include "regs.h"

void uid_read(uint8_t id[UID_SIZE]) {
    for (unsigned i = 0; i < UID_SIZE; i += 4) {
        uint32_t word;
        if (!fault_probe(UNIQUE_ID_BASE + i, &word)) {
            memset(id, 0, UID_SIZE);
            return;
        }
        memcpy(id + i, &word, 4);
    }
}
