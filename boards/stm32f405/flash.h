// Programming and erasing the internal flash.
#pragma once

#include <stdbool.h>
#include <stdint.h>

bool flash_program(uint32_t address, uint32_t word); // one aligned word
bool flash_erase(unsigned sector);                   // 0 to 11
