// GPIO at register level.

#include "port.h"
#include "regs.h"

void pin_configure(unsigned pin, pin_mode_t mode, bool open_drain, pin_pull_t pull, unsigned af) {
    gpio_regs_t *gpio = GPIO(pin / 16);
    unsigned bit = pin % 16;
    uint32_t state = irq_off();
    RCC->AHB1ENR |= 1u << (pin / 16);
    (void)RCC->AHB1ENR; // the clock needs two cycles before the port takes a write
    uint32_t two = 3u << (2 * bit);
    unsigned half = bit / 8, nibble = 4 * (bit % 8);
    gpio->AFR[half] = (gpio->AFR[half] & ~(0xFu << nibble)) | (af << nibble);
    gpio->OTYPER = (gpio->OTYPER & ~(1u << bit)) | ((open_drain ? 1u : 0u) << bit);
    gpio->OSPEEDR = (gpio->OSPEEDR & ~two) | (1u << (2 * bit)); // medium: 25 MHz
    gpio->PUPDR = (gpio->PUPDR & ~two) | ((uint32_t)pull << (2 * bit));
    static const uint8_t moder[] = { [PIN_INPUT] = 0, [PIN_OUTPUT] = 1, [PIN_ALTERNATE] = 2, [PIN_ANALOG] = 3 };
    gpio->MODER = (gpio->MODER & ~two) | ((uint32_t)moder[mode] << (2 * bit));
    irq_restore(state);
}

void pin_set(unsigned pin, bool high) {
    GPIO(pin / 16)->BSRR = 1u << (pin % 16 + (high ? 0 : 16));
}

bool pin_get(unsigned pin) {
    return (GPIO(pin / 16)->IDR >> (pin % 16)) & 1;
}
