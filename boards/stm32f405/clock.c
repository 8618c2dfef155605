// 168 MHz from the 8 MHz crystal, or from the chip's own 16 MHz where the crystal does not start.
//
// Every wait for a flag is bounded. The chip comes up on the HSI, so whatever fails here leaves a
// clock that runs; only the frequencies are then others, and clock_sysclk() returns them.
// QEMU 7.2 has no RCC: all of it reads 0 there and no flag ever comes.

#include "port.h"
#include "regs.h"

#define HSI_HZ (16000000)
// The longest waits, in us of the HSI, which runs the core here. Datasheet: the crystal takes 2 ms
// typically, a slow one 10 ms; the PLL locks within 200 us (300 us at the most); a switch of the
// system clock is a matter of cycles. All of it is well within a watchdog's shortest timeout.
#define HSE_US (12000)
#define PLL_US (1000)
#define SWITCH_US (100)
// Between two looks, each of which an emulator has to stop for: 5 us.
#define LOOK_TURNS (25)

static clock_source_t source;
static uint32_t sysclk;
static uint32_t apb[2];

// SysTick is the clock: it belongs to the core, counts its cycles and is not otherwise used yet. Its
// value is compared, not COUNTFLAG waited for, which QEMU sets late while the core asks for it.
// (QEMU's counts 168 MHz from the start, so that the waits in vain are 1.3 ms there.)
static bool wait_for(reg_t *reg, uint32_t mask, uint32_t value, uint32_t us) {
    const uint32_t mask24 = 0xFFFFFF, limit = us * (HSI_HZ / 1000000);
    SYSTICK->LOAD = mask24;
    SYSTICK->VAL = 0;
    SYSTICK->CTRL = SYSTICK_CTRL_CLKSOURCE | SYSTICK_CTRL_ENABLE;
    uint32_t start = SYSTICK->VAL; // counts down
    bool came, over;
    do {
        over = ((start - SYSTICK->VAL) & mask24) >= limit;
        came = (*reg & mask) == value; // looked at last: also once after the time is over
        spin(LOOK_TURNS);
    } while (!came && !over);
    SYSTICK->CTRL = 0;
    return came;
}

void clock_init(void) {
    RCC->CR |= RCC_CR_HSEON;
    bool hse = wait_for(&RCC->CR, RCC_CR_HSERDY, RCC_CR_HSERDY, HSE_US);
    RCC->APB1ENR |= RCC_APB1ENR_PWREN;
    // VCO 336 MHz from a 1 MHz input, divided by 2; Q = 7 gives the RNG its 48 MHz.
    uint32_t input_mhz = (hse ? CLOCK_HSE_HZ : HSI_HZ) / 1000000;
    RCC->PLLCFGR = input_mhz | (336u << 6) | (0u << 16) | ((hse ? 1u : 0u) << 22) | (7u << 24);
    RCC->CR |= RCC_CR_PLLON;
    bool locked = wait_for(&RCC->CR, RCC_CR_PLLRDY, RCC_CR_PLLRDY, PLL_US);
    if (locked) {
        // The flash needs its wait states before the clock rises.
        FLASH->ACR = FLASH_ACR_LATENCY_5 | FLASH_ACR_PRFTEN | FLASH_ACR_ICEN | FLASH_ACR_DCEN;
        RCC->CFGR = RCC_CFGR_PPRE1_DIV4 | RCC_CFGR_PPRE2_DIV2;
        RCC->CFGR |= RCC_CFGR_SW_PLL;
        locked = wait_for(&RCC->CFGR, RCC_CFGR_SWS, RCC_CFGR_SWS_PLL, SWITCH_US);
    }
    if (locked) {
        source = hse ? CLOCK_HSE : CLOCK_HSI;
    } else if (RCC->CR & RCC_CR_HSIRDY) {
        source = CLOCK_HSI_NO_PLL; // the slow clock we came up on, not divided
        RCC->CFGR = 0;
    } else {
        // No clock claims to be ready, though one runs this very code: the registers cannot be
        // believed. The board's nominal clock is then the best guess (and QEMU's).
        source = CLOCK_UNKNOWN;
    }
    bool slow = source == CLOCK_HSI_NO_PLL;
    sysclk = slow ? HSI_HZ : CLOCK_SYSCLK_HZ;
    apb[0] = slow ? HSI_HZ : CLOCK_APB1_HZ;
    apb[1] = slow ? HSI_HZ : CLOCK_APB2_HZ;
}

clock_source_t clock_source(void) {
    return source;
}

uint32_t clock_sysclk(void) {
    return sysclk;
}

uint32_t clock_apb(unsigned bus) {
    return apb[bus - 1];
}
