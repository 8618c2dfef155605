// UART driver: interrupt-driven rings both ways, RS-485 driver-enable, counters.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "regs.h"

typedef enum { PARITY_NONE, PARITY_EVEN, PARITY_ODD } uart_parity_t;

// One byte of the buffer stays free, so that full and empty differ.
typedef struct {
    uint8_t *buf;
    uint16_t size;
    volatile uint16_t put, get;
} uart_ring_t;

// Looks at a received byte, in the interrupt; true: the byte is used up and not kept.
typedef bool (*uart_filter_t)(uint8_t byte);

typedef struct {
    // Wiring, fixed.
    uint8_t number;
    uint8_t irq, apb, enable, af;
    uint8_t tx_pin, rx_pin;
    int8_t board_de; // the board's driver-enable pin, -1: none
    uart_regs_t *regs;
    uart_filter_t filter; // NULL: none; outlives uart_open()
    // State while open; rx.buf is NULL while it is not.
    uart_ring_t rx, tx;
    int8_t de; // the pin in use, -1: none
    bool sending;
    uint8_t mask; // of the data bits
    uint32_t baudrate;
    uint32_t char_us; // time of one character
    volatile uint32_t last_rx_us;
    volatile uint32_t overruns, framing, noise, parity;
} uart_t;

uart_t *uart_find(unsigned number); // NULL: the board has none of that number
// False: the baud rate cannot be made from the bus clock. bits: 7 (with a parity) or 8.
bool uart_open(uart_t *uart, uint32_t baudrate, unsigned bits, uart_parity_t parity, unsigned stop,
    int de, uint8_t *rx, size_t rx_size, uint8_t *tx, size_t tx_size);
void uart_set_filter(uart_t *uart, uart_filter_t filter);
void uart_close(uart_t *uart);
size_t uart_available(const uart_t *uart);
size_t uart_room(const uart_t *uart);
int uart_take(uart_t *uart); // next byte, -1: none
size_t uart_read(uart_t *uart, uint8_t *to, size_t limit);
size_t uart_send(uart_t *uart, const uint8_t *from, size_t count); // what there was room for
bool uart_idle(const uart_t *uart); // the last stop bit is out and the driver off
