// ADC1 (RM0090 chapter 13): software start, one channel per conversion.

#include "adc.h"

#include <stddef.h>

#include "port.h"
#include "regs.h"

// us to wait for the end of a conversion: 492 cycles of 21 MHz are 24 us; Renode takes 100.
// QEMU 7.2 never sets EOC, so there every read is a timeout.
#define LIMIT_US (1000)

typedef struct {
    uint8_t pin, channel;
} analog_t;

#define ANALOG_ROW(pin_, channel_) { pin_, channel_ },
static const analog_t analogs[] = { BOARD_ADC_CHANNELS(ANALOG_ROW) };

int adc_channel(unsigned pin) {
    for (size_t i = 0; i < sizeof(analogs) / sizeof(analogs[0]); ++i) {
        if (analogs[i].pin == pin) {
            return analogs[i].channel;
        }
    }
    return -1;
}

void adc_open(unsigned pin) {
    static bool running;
    pin_configure(pin, PIN_ANALOG, false, PIN_PULL_NONE, 0);
    if (running) {
        return;
    }
    running = true;
    RCC->APB2ENR |= 1u << ADC1_ENABLE;
    (void)RCC->APB2ENR;
    ADC_CCR = 1u << 16; // PCLK2 / 4 = 21 MHz, at most 36
    ADC1->CR1 = 0;
    ADC1->SMPR1 = 0x07FFFFFFu; // 480 cycles: a sensor's output may have some 10 kOhm
    ADC1->SMPR2 = 0x3FFFFFFFu;
    ADC1->SQR1 = 0; // a sequence of one; written although 0 already: Renode divides by it otherwise
    ADC1->SQR2 = 0;
    ADC1->CR2 = ADC_CR2_ADON;
    uint64_t stable = ticks_us64() + 10; // t_STAB is 3 us
    while (ticks_us64() < stable) {
    }
    // The first conversion after power-up is not good on the chip, and Renode's shows channel 0.
    uint16_t thrown_away;
    (void)adc_read(adc_channel(pin), &thrown_away);
}

bool adc_read(unsigned channel, uint16_t *raw) {
    ADC1->SQR3 = channel;
    ADC1->SR = 0;
    ADC1->CR2 = ADC_CR2_ADON | ADC_CR2_SWSTART;
    uint64_t end = ticks_us64() + LIMIT_US;
    while (!(ADC1->SR & ADC_SR_EOC)) {
        if (ticks_us64() > end) {
            return false;
        }
    }
    *raw = ADC1->DR & 0xFFF;
    return true;
}
