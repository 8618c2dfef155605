// What the files of this port offer each other.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NORETURN_FN __attribute__((noreturn))

// startup.c
void reset_handler(void);
int main(void);

// clock.c: frequencies in Hz, as they are after clock_init().
typedef enum { CLOCK_HSE, CLOCK_HSI, CLOCK_HSI_NO_PLL, CLOCK_UNKNOWN } clock_source_t;
void clock_init(void);
clock_source_t clock_source(void);
uint32_t clock_sysclk(void);
uint32_t clock_apb(unsigned bus); // bus: 1 or 2

// A delay of about so many times 3 cycles, for loops that wait for a flag.
static inline void spin(unsigned turns) {
    while (turns-- != 0) {
        __asm volatile ("nop");
    }
}

// systick.c
void systick_init(void);
void systick_handler(void);
typedef void (*tick_hook_t)(uint32_t pc, uint32_t lr); // of the interrupted code
void systick_call(tick_hook_t wanted); // every millisecond, from the interrupt
uint32_t ticks_ms(void);
uint64_t ticks_us64(void);

// pin.c: a pin is 16 times its port plus its number (PA0 is 0, PB0 is 16).
typedef enum { PIN_INPUT, PIN_OUTPUT, PIN_ALTERNATE, PIN_ANALOG } pin_mode_t;
typedef enum { PIN_PULL_NONE, PIN_PULL_UP, PIN_PULL_DOWN } pin_pull_t;
void pin_configure(unsigned pin, pin_mode_t mode, bool open_drain, pin_pull_t pull, unsigned af);
void pin_set(unsigned pin, bool high);
bool pin_get(unsigned pin);

// uart.c
void uart_interrupt(unsigned number);
