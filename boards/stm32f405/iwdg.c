// The independent watchdog (RM0090 chapter 21).

#include "iwdg.h"

#include "regs.h"

#define KEY_RELOAD (0xAAAA)
#define KEY_UNLOCK (0x5555)
#define KEY_START (0xCCCC)
#define RELOAD_MAX (0xFFFu)
#define PRESCALER_MAX (6u) // divides by 4 << 6
// kHz of the LSI at its fastest (17 to 47, datasheet): the chip is never reset before the time
// asked for, except for times above 22 s, which the counter cannot hold at that speed.
#define LSI_KHZ_MAX (47)

void iwdg_program(uint32_t ms) {
    uint32_t counts = ms * LSI_KHZ_MAX / 4;
    uint32_t prescaler = 0;
    while (counts > RELOAD_MAX && prescaler < PRESCALER_MAX) {
        counts /= 2;
        ++prescaler;
    }
    IWDG->KR = KEY_START; // switches the LSI on as well
    IWDG->KR = KEY_UNLOCK;
    // A change before this may still be on its way to the LSI's clock domain, at most 5 of its
    // cycles (0.3 ms); writes meanwhile would be lost.
    for (unsigned turn = 0; IWDG->SR != 0 && turn < 60000; ++turn) {
    }
    IWDG->PR = prescaler;
    IWDG->RLR = counts > RELOAD_MAX ? RELOAD_MAX : counts;
    for (unsigned turn = 0; IWDG->SR != 0 && turn < 60000; ++turn) {
    }
    IWDG->KR = KEY_RELOAD;
}

void iwdg_feed(void) {
    IWDG->KR = KEY_RELOAD;
}

bool iwdg_present(void) {
    return IWDG->RLR != 0; // the reload value is never 0 unless there is no such device
}
