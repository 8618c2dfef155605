// I2C1 as a master.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void i2c_open(uint32_t hertz); // up to 100,000 or 400,000
// 0, or a negative errno: -ENODEV nobody acknowledged, -ETIMEDOUT the bus is stuck, -EIO it was lost.
// The bus is free afterwards in every case. With stop false the next transfer begins with a
// repeated start.
int i2c_write(unsigned address, const uint8_t *from, size_t count, bool stop);
int i2c_read(unsigned address, uint8_t *to, size_t count, bool stop);
