// The flash controller (RM0090 chapter 3). True only if the controller reports no error and the
// medium reads back as it should: an emulator's flash may be a ROM (QEMU drops every store and its
// controller reads 0), a worn sector may keep what it had.
//
// The chip has one bank, so code does not run while it programs (16 us a word) or erases (1 to 2 s,
// datasheet: 4 s at most for 128 KiB): interrupts wait, received bytes may be overrun (and are
// counted), and SysTick's milliseconds of that time are lost.

#include "flash.h"

#include <stddef.h>

#include "port.h"
#include "regs.h"
#include "watchdog.h"

#define KEY_1 (0x45670123u)
#define KEY_2 (0xCDEF89ABu)
// Turns of the wait for BSY. On the chip the first read of it stands still until the work is done,
// so this bounds only a controller that is stuck.
#define TURNS (20000000u)

static bool wait_ready(void) {
    for (uint32_t turn = 0; turn < TURNS; ++turn) {
        if (!(FLASH->SR & FLASH_SR_BSY)) {
            return true;
        }
    }
    return false;
}

// Any other sequence of keys would lock the controller until the next reset.
static bool unlock(void) {
    if (!wait_ready()) {
        return false;
    }
    if (FLASH->CR & FLASH_CR_LOCK) {
        FLASH->KEYR = KEY_1;
        FLASH->KEYR = KEY_2;
    }
    FLASH->SR = FLASH_SR_ERRORS; // of whoever was here before; write 1 to clear
    return !(FLASH->CR & FLASH_CR_LOCK);
}

static bool finish(void) {
    bool done = wait_ready();
    bool failed = (FLASH->SR & FLASH_SR_ERRORS) != 0;
    FLASH->CR = FLASH_CR_LOCK;
    return done && !failed;
}

// What the data cache holds of the flash is what was there before.
static void forget_cache(void) {
    uint32_t acr = FLASH->ACR;
    FLASH->ACR = acr & ~FLASH_ACR_DCEN;
    FLASH->ACR = (acr & ~FLASH_ACR_DCEN) | FLASH_ACR_DCRST;
    FLASH->ACR = acr;
    barrier();
}

bool flash_program(uint32_t address, uint32_t word) {
    if (address % 4 != 0 || address < FLASH_BASE || address >= FLASH_BASE + FLASH_SIZE || !unlock()) {
        return false;
    }
    FLASH->CR = FLASH_CR_PG | FLASH_CR_PSIZE_32; // 32 bits at a time: needs 2.7 V, the board has 3.3
    *(reg_t *)address = word;
    barrier();
    bool done = finish();
    forget_cache();
    return done && *(reg_t *)address == word;
}

static uint32_t sector_start(unsigned sector) {
    return FLASH_BASE + (sector < 4 ? sector * 0x4000 : sector == 4 ? 0x10000 : (sector - 4) * 0x20000);
}

bool flash_erase(unsigned sector) {
    if (sector > 11 || !unlock()) {
        return false;
    }
    // It takes longer than any task may take to feed the watchdog, and nobody can meanwhile.
    watchdog_hold();
    FLASH->CR = FLASH_CR_SER | FLASH_CR_SNB(sector) | FLASH_CR_PSIZE_32;
    FLASH->CR |= FLASH_CR_STRT;
    barrier();
    bool done = finish();
    forget_cache();
    watchdog_feed();
    for (uint32_t at = sector_start(sector); done && at < sector_start(sector + 1); at += 4) {
        done = *(reg_t *)at == 0xFFFFFFFFu;
    }
    return done;
}
