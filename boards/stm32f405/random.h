// Random bytes for jitter and test data. NOT a cryptographic source: see random.c.
#pragma once

#include <stddef.h>
#include <stdint.h>

void random_fill(uint8_t *to, size_t count);
uint32_t random_seed(void);
