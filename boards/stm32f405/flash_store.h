// The one record store of this board, opened at the first use after a reset: what it keeps in RAM
// only outlives a soft reset.
#pragma once

#include "board_gen.h"
#include "record_store.h"

#define FLASH_STORE_SECTOR (STORE_SIZE / RS_SECTORS) // bytes

rs_store_t *flash_store(void);
