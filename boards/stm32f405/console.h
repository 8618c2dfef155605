// The console: USART1, the REPL's terminal.
#pragma once

#include <stdbool.h>
#include <stdint.h>

void console_init(void);
// From the receive interrupt: true if the byte was the interrupt character and is used up.
bool console_interrupt(uint8_t byte);
