// I2C1, polled master (RM0090 chapter 27). Every wait is bounded, and each turn of a wait reads SR1
// once and takes everything from that value: reading it is part of clearing its flags, and in Renode
// a read clears AF, so that a second look would miss that nobody acknowledged.

#include "i2c.h"

#include "port.h"
#include "py/mperrno.h"
#include "regs.h"

// us for one byte. At 100 kHz it takes 90; a part may hold the clock while it measures.
#define BYTE_US (50000)
#define ERRORS (I2C_SR1_AF | I2C_SR1_ARLO | I2C_SR1_BERR)

static uint32_t speed;

static void half_bit(void) {
    uint64_t end = ticks_us64() + 5;
    while (ticks_us64() < end) {
    }
}

// A part that was cut off in the middle of a byte holds SDA low until it has had its clocks: give
// it up to nine, then a stop (UM10204 3.1.16).
static void free_bus(void) {
    pin_set(BOARD_I2C_SCL, true);
    pin_set(BOARD_I2C_SDA, true);
    pin_configure(BOARD_I2C_SCL, PIN_OUTPUT, true, PIN_PULL_UP, 0);
    pin_configure(BOARD_I2C_SDA, PIN_OUTPUT, true, PIN_PULL_UP, 0);
    for (unsigned clock = 0; clock < 9 && !pin_get(BOARD_I2C_SDA); ++clock) {
        pin_set(BOARD_I2C_SCL, false);
        half_bit();
        pin_set(BOARD_I2C_SCL, true);
        half_bit();
    }
    pin_set(BOARD_I2C_SDA, false);
    half_bit();
    pin_set(BOARD_I2C_SDA, true);
    half_bit();
}

static void reset_device(void) {
    free_bus();
    pin_configure(BOARD_I2C_SCL, PIN_ALTERNATE, true, PIN_PULL_UP, I2C1_AF);
    pin_configure(BOARD_I2C_SDA, PIN_ALTERNATE, true, PIN_PULL_UP, I2C1_AF);
    I2C1->CR1 = I2C_CR1_SWRST; // BUSY can stick (errata 2.3.x); only this clears it
    I2C1->CR1 = 0;
    uint32_t clock = clock_apb(1), mhz = clock / 1000000;
    I2C1->CR2 = mhz;
    if (speed <= 100000) {
        I2C1->CCR = clock / (2 * speed);
        I2C1->TRISE = mhz + 1; // 1000 ns
    } else {
        I2C1->CCR = (1u << 15) | (clock / (3 * speed)); // fast mode, low twice as long as high
        I2C1->TRISE = mhz * 300 / 1000 + 1;
    }
    I2C1->CR1 = I2C_CR1_PE;
}

void i2c_open(uint32_t hertz) {
    RCC->APB1ENR |= 1u << I2C1_ENABLE;
    (void)RCC->APB1ENR;
    speed = hertz;
    reset_device();
}

static int wait_for(uint32_t flag) {
    uint64_t end = ticks_us64() + BYTE_US;
    for (;;) {
        uint32_t sr1 = I2C1->SR1;
        if (sr1 & flag) {
            return 0;
        }
        if (sr1 & ERRORS) {
            I2C1->SR1 = ~(sr1 & ERRORS); // write 0 to clear
            return sr1 & I2C_SR1_AF ? -MP_ENODEV : -MP_EIO;
        }
        if (ticks_us64() > end) {
            return -MP_ETIMEDOUT;
        }
    }
}

static int start(unsigned address, bool read) {
    I2C1->CR1 |= I2C_CR1_START;
    int error = wait_for(I2C_SR1_SB);
    if (error == 0) {
        I2C1->DR = address << 1 | (read ? 1 : 0);
        error = wait_for(I2C_SR1_ADDR);
    }
    return error;
}

static int finish(int error, bool stop) {
    if (error == 0 && !stop) {
        return 0;
    }
    I2C1->CR1 |= I2C_CR1_STOP;
    if (error == -MP_ETIMEDOUT || error == -MP_EIO) {
        reset_device();
    }
    return error;
}

int i2c_write(unsigned address, const uint8_t *from, size_t count, bool stop) {
    int error = start(address, false);
    if (error == 0) {
        (void)I2C1->SR2; // SR1 then SR2: clears ADDR and lets the clock go on
    }
    for (size_t i = 0; error == 0 && i < count; ++i) {
        error = wait_for(I2C_SR1_TXE);
        if (error == 0) {
            I2C1->DR = from[i];
        }
    }
    if (error == 0 && count != 0) {
        error = wait_for(I2C_SR1_BTF); // the last byte is out and acknowledged
    }
    return finish(error, stop);
}

// The end of a read must be announced ahead of its last byte, and how far ahead depends on the
// length: RM0090 27.3.3, "Closing the communication", has the three cases.
int i2c_read(unsigned address, uint8_t *to, size_t count, bool stop) {
    if (count == 0) {
        return i2c_write(address, NULL, 0, stop);
    }
    I2C1->CR1 = (I2C1->CR1 | I2C_CR1_ACK) & ~I2C_CR1_POS;
    int error = start(address, true);
    if (error != 0) {
        return finish(error, stop);
    }
    if (count == 1) {
        I2C1->CR1 &= ~I2C_CR1_ACK;
    }
    uint32_t state = irq_off(); // the stop must be set before the single byte has arrived
    (void)I2C1->SR2;
    if (count == 1 && stop) {
        I2C1->CR1 |= I2C_CR1_STOP;
    }
    irq_restore(state);
    for (size_t i = 0; error == 0 && i < count; ++i) {
        error = wait_for(I2C_SR1_RXNE);
        if (error == 0) {
            to[i] = I2C1->DR;
            if (i + 2 == count) {
                // The last byte is on its way: refuse it and end. After the read of the one before,
                // as the manual has it: Renode takes the read after the stop for the last.
                I2C1->CR1 &= ~I2C_CR1_ACK;
                if (stop) {
                    I2C1->CR1 |= I2C_CR1_STOP;
                }
            }
        }
    }
    return error == 0 ? 0 : finish(error, stop);
}
