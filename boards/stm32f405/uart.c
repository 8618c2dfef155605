// UART driver. The send path runs from the caller and from the interrupt alike: whoever comes
// moves bytes as long as the transmitter takes them. On the chip the caller moves two and the
// interrupts the rest; in QEMU 7.2, whose TXE and TC interrupts never come, and in Renode, where
// sending takes no time, the caller's turn is all there is.

#include "uart.h"

#include "port.h"

#define UART_ROW(number_, name, base_, irq_, apb_, enable_, af_, tx_, rx_, de_) \
    { .number = number_, .irq = irq_, .apb = apb_, .enable = enable_, .af = af_, .tx_pin = tx_, \
      .rx_pin = rx_, .board_de = de_, .regs = (uart_regs_t *)base_, .de = -1 },

static uart_t uarts[] = { BOARD_UARTS(UART_ROW) };

static inline uint16_t next(const uart_ring_t *ring, uint16_t at) {
    return at + 1 == ring->size ? 0 : at + 1;
}

static inline size_t used(const uart_ring_t *ring) {
    uint16_t put = ring->put, get = ring->get;
    return put >= get ? put - get : ring->size + put - get;
}

uart_t *uart_find(unsigned number) {
    for (size_t i = 0; i < sizeof(uarts) / sizeof(uarts[0]); ++i) {
        if (uarts[i].number == number) {
            return &uarts[i];
        }
    }
    return NULL;
}

void uart_set_filter(uart_t *uart, uart_filter_t filter) {
    uart->filter = filter;
}

bool uart_open(uart_t *uart, uint32_t baudrate, unsigned bits, uart_parity_t parity, unsigned stop,
    int de, uint8_t *rx, size_t rx_size, uint8_t *tx, size_t tx_size) {
    uint32_t clock = clock_apb(uart->apb);
    uint32_t divider = baudrate == 0 ? 0 : (clock + baudrate / 2) / baudrate;
    if (divider < 16 || divider > 0xFFFF) {
        return false;
    }
    uart_close(uart);
    uart->rx = (uart_ring_t) { rx, rx_size, 0, 0 };
    uart->tx = (uart_ring_t) { tx, tx_size, 0, 0 };
    uart->de = de;
    uart->mask = bits == 7 ? 0x7F : 0xFF;
    uart->baudrate = baudrate;
    uart->char_us = (1 + bits + (parity != PARITY_NONE) + stop) * 1000000 / baudrate + 1;
    uart->overruns = uart->framing = uart->noise = uart->parity = 0;

    reg_t *enr = uart->apb == 1 ? &RCC->APB1ENR : &RCC->APB2ENR;
    *enr |= 1u << uart->enable;
    (void)*enr;
    pin_configure(uart->tx_pin, PIN_ALTERNATE, false, PIN_PULL_UP, uart->af);
    pin_configure(uart->rx_pin, PIN_ALTERNATE, false, PIN_PULL_UP, uart->af);
    if (de >= 0) {
        pin_set(de, false);
        pin_configure(de, PIN_OUTPUT, false, PIN_PULL_NONE, 0);
        pin_set(de, false); // again: the port had no clock before
    }
    uart_regs_t *regs = uart->regs;
    regs->CR1 = 0;
    regs->CR2 = stop == 2 ? USART_CR2_STOP_2 : 0;
    regs->CR3 = 0;
    regs->BRR = divider;
    uint32_t cr1 = USART_CR1_UE | USART_CR1_TE | USART_CR1_RE | USART_CR1_RXNEIE;
    if (parity != PARITY_NONE) {
        // The chip counts the parity bit among the data bits: 8 and parity is a word of 9.
        cr1 |= USART_CR1_PCE | (parity == PARITY_ODD ? USART_CR1_PS : 0);
        cr1 |= bits == 8 ? USART_CR1_M : 0;
    }
    regs->CR1 = cr1;
    NVIC_ISER(uart->irq / 32) = 1u << (uart->irq % 32);
    return true;
}

void uart_close(uart_t *uart) {
    if (uart->rx.buf == NULL) {
        return;
    }
    NVIC_ICER(uart->irq / 32) = 1u << (uart->irq % 32);
    barrier();
    uart->regs->CR1 = 0;
    if (uart->de >= 0) {
        pin_set(uart->de, false);
    }
    uart->sending = false;
    uart->rx.buf = uart->tx.buf = NULL;
    uart->rx.put = uart->rx.get = uart->tx.put = uart->tx.get = 0;
}

static void receive(uart_t *uart, uint32_t sr) {
    uart_ring_t *ring = &uart->rx;
    uint16_t after = next(ring, ring->put);
    if (after == ring->get) {
        // Full: leave the byte in the receiver until there is room. A line that goes on talking
        // overruns it, and the chip counts that for us (an emulator makes the sender wait).
        uart->regs->CR1 &= ~USART_CR1_RXNEIE;
        return;
    }
    uint32_t data = uart->regs->DR; // after SR: clears its error flags as well
    uart->overruns += (sr & USART_SR_ORE) != 0;
    if (!(sr & USART_SR_RXNE)) {
        return;
    }
    uart->framing += (sr & USART_SR_FE) != 0;
    uart->noise += (sr & USART_SR_NF) != 0;
    uart->parity += (sr & USART_SR_PE) != 0;
    uart->last_rx_us = (uint32_t)ticks_us64();
    uint8_t byte = data & uart->mask;
    if (uart->filter != NULL && uart->filter(byte)) {
        return;
    }
    ring->buf[ring->put] = byte;
    ring->put = after;
}

// Interrupts off, or from the interrupt.
static void pump(uart_t *uart) {
    uart_ring_t *ring = &uart->tx;
    uart_regs_t *regs = uart->regs;
    while (ring->get != ring->put && (regs->SR & USART_SR_TXE)) {
        if (!uart->sending) {
            uart->sending = true;
            if (uart->de >= 0) {
                pin_set(uart->de, true);
            }
        }
        regs->DR = ring->buf[ring->get];
        ring->get = next(ring, ring->get);
    }
    uint32_t enable = 0;
    if (ring->get != ring->put) {
        enable = USART_CR1_TXEIE;
    } else if (uart->sending) {
        if (regs->SR & USART_SR_TC) {
            uart->sending = false;
            if (uart->de >= 0) {
                pin_set(uart->de, false);
            }
        } else {
            enable = USART_CR1_TCIE;
        }
    }
    uint32_t cr1 = regs->CR1;
    uint32_t wanted = (cr1 & ~(USART_CR1_TXEIE | USART_CR1_TCIE)) | enable;
    if (wanted != cr1) {
        regs->CR1 = wanted;
    }
}

void uart_interrupt(unsigned number) {
    uart_t *uart = uart_find(number);
    if (uart == NULL || uart->rx.buf == NULL) {
        return;
    }
    uint32_t sr = uart->regs->SR;
    if (sr & (USART_SR_RXNE | USART_SR_ORE)) {
        receive(uart, sr);
    }
    if (uart->sending) {
        pump(uart);
    }
}

size_t uart_available(const uart_t *uart) {
    return used(&uart->rx);
}

size_t uart_room(const uart_t *uart) {
    return uart->tx.size - 1 - used(&uart->tx);
}

size_t uart_read(uart_t *uart, uint8_t *to, size_t limit) {
    uart_ring_t *ring = &uart->rx;
    size_t count = 0;
    while (count < limit && ring->get != ring->put) {
        to[count++] = ring->buf[ring->get];
        ring->get = next(ring, ring->get);
    }
    if (count != 0 && !(uart->regs->CR1 & USART_CR1_RXNEIE)) {
        uint32_t state = irq_off();
        uart->regs->CR1 |= USART_CR1_RXNEIE;
        irq_restore(state);
    }
    return count;
}

int uart_take(uart_t *uart) {
    uint8_t byte;
    return uart_read(uart, &byte, 1) ? byte : -1;
}

size_t uart_send(uart_t *uart, const uint8_t *from, size_t count) {
    uart_ring_t *ring = &uart->tx;
    size_t sent = 0;
    for (;;) {
        size_t before = sent;
        for (uint16_t after; sent < count && (after = next(ring, ring->put)) != ring->get;) {
            ring->buf[ring->put] = from[sent++];
            ring->put = after;
        }
        uint32_t state = irq_off();
        pump(uart);
        irq_restore(state);
        if (sent == count || sent == before) {
            return sent;
        }
    }
}

bool uart_idle(const uart_t *uart) {
    return uart->tx.get == uart->tx.put && !uart->sending && (uart->regs->SR & USART_SR_TC);
}
