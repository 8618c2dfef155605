// Console and REPL on a UART: input through the receive ring, output polled, so that it works
// with interrupts off and in the last words of a dying program as well.

#include "console.h"

#include "port.h"
#include "py/mphal.h"
#include "py/runtime.h"
#include "py/stream.h"
#include "shared/runtime/interrupt_char.h"
#include "uart.h"
#include "watchdog.h"

#define BAUD (115200)
// Turns of the loop that waits for the transmitter: over 1 ms, a character takes 87 us.
#define TURNS (60000)

// The watchdog cannot be stopped, and at the REPL no application feeds it, so the wait for a byte
// does: who types, thinks or uploads is not reset. But a REPL that was left open is a node that does
// not measure; after this long without a byte it is on its own, and resets into the application.
#define REPL_IDLE_MS (10 * 60 * 1000)

static uart_t *console;

// From the receive interrupt: the interrupt character is used up here.
static bool take_interrupt(uint8_t byte) {
    if (byte != mp_interrupt_char) {
        return false;
    }
    mp_sched_keyboard_interrupt();
    return true;
}

void console_init(void) {
    static uint8_t rx[1024], tx[2];
    console = uart_find(BOARD_UART_CONSOLE);
    uart_open(console, BAUD, 8, PARITY_NONE, 1, -1, rx, sizeof(rx), tx, sizeof(tx));
    uart_set_filter(console, take_interrupt);
}

int mp_hal_stdin_rx_chr(void) {
    uint32_t since = ticks_ms();
    for (;;) {
        int byte = uart_take(console);
        if (ticks_ms() - since < REPL_IDLE_MS) {
            watchdog_feed(); // does nothing where none was started
        }
        if (byte >= 0) {
            return byte;
        }
        mp_event_wait_indefinite();
    }
}

mp_uint_t mp_hal_stdout_tx_strn(const char *str, size_t len) {
    uart_regs_t *regs = console->regs;
    for (size_t i = 0; i < len; ++i) {
        // Bounded: a UART without a clock must not take the program with it.
        for (unsigned turn = 0; !(regs->SR & USART_SR_TXE) && turn < TURNS; ++turn) {
        }
        regs->DR = (uint8_t)str[i];
    }
    return len;
}

uintptr_t mp_hal_stdio_poll(uintptr_t flags) {
    uintptr_t ready = flags & MP_STREAM_POLL_WR;
    if ((flags & MP_STREAM_POLL_RD) && uart_available(console) != 0) {
        ready |= MP_STREAM_POLL_RD;
    }
    return ready;
}
