// Random bytes. NOT a cryptographic source, and nothing of the node takes a key from it (keys are
// provisioned): the chip's generator is used where it answers, but where it does not (QEMU's reads
// 0 for ever, a chip with a broken 48 MHz clock) what is left is a mixture of the unique id and of
// the time, which an onlooker may guess.

#include "random.h"

#include <stdbool.h>
#include <string.h>

#include "port.h"
#include "regs.h"
#include "uid.h"

// Turns of the wait for a word: 40 cycles of 48 MHz are needed, this is over 100 us.
#define TURNS (5000)

static bool generator_word(uint32_t *word) {
    RCC->AHB2ENR |= RCC_AHB2ENR_RNGEN;
    (void)RCC->AHB2ENR;
    RNG->CR |= RNG_CR_RNGEN;
    for (unsigned turn = 0; turn < TURNS; ++turn) {
        if (RNG->SR & RNG_SR_DRDY) {
            *word = RNG->DR;
            return true;
        }
    }
    return false;
}

// splitmix64's finaliser: every input bit reaches every output bit.
static uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

uint32_t random_seed(void) {
    static uint64_t state;
    static bool silent; // the generator did not answer once: ask no more
    uint32_t word;
    if (!silent && generator_word(&word)) {
        return word;
    }
    silent = true;
    if (state == 0) {
        uint8_t id[UID_SIZE];
        uid_read(id);
        for (unsigned i = 0; i < UID_SIZE; ++i) {
            state = mix(state + id[i] + 1);
        }
    }
    state = mix(state + (ticks_us64() << 20) + SYSTICK->VAL + 0x9E3779B97F4A7C15u);
    return (uint32_t)state;
}

void random_fill(uint8_t *to, size_t count) {
    while (count != 0) {
        uint32_t word = random_seed();
        size_t part = count < sizeof(word) ? count : sizeof(word);
        memcpy(to, &word, part);
        to += part;
        count -= part;
    }
}
