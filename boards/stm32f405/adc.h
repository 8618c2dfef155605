// ADC1, one conversion at a time.
#pragma once

#include <stdbool.h>
#include <stdint.h>

int adc_channel(unsigned pin); // of one of the board's analog pins, -1: it is none
void adc_open(unsigned pin);
bool adc_read(unsigned channel, uint16_t *raw); // 12 bits; false: the conversion never ended
