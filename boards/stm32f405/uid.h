// The chip's unique id.
#pragma once

#include <stdint.h>

#define UID_SIZE (12)

void uid_read(uint8_t id[UID_SIZE]); // 12 zero bytes where the chip has none
