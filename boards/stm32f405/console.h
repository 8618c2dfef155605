// The console: USART1, the REPL's terminal.
#pragma once

void console_init(void);
