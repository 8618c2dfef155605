// The board's record store: record_store.c over sectors 10 and 11 of the internal flash.

#include "flash_store.h"

#include "board_gen.h"
#include "flash.h"

#define FIRST_SECTOR 10u
#define FIRST_ADDRESS STORE_BASE // peripherals.toml

static bool program(void *context, unsigned sector, uint32_t offset, uint32_t word) {
    (void)context;
    return flash_program(FIRST_ADDRESS + sector * FLASH_STORE_SECTOR + offset, word);
}

static bool erase(void *context, unsigned sector) {
    (void)context;
    return flash_erase(FIRST_SECTOR + sector);
}

rs_store_t *flash_store(void) {
    static const rs_flash_t flash = {
        .sector = {(const uint8_t *)FIRST_ADDRESS, (const uint8_t *)(FIRST_ADDRESS + FLASH_STORE_SECTOR)},
        .sector_bytes = FLASH_STORE_SECTOR,
        .program = program,
        .erase = erase,
    };
    static rs_store_t store;
    static bool opened;
    if (!opened) {
        opened = true;
        rs_open(&store, &flash);
    }
    return &store;
}
