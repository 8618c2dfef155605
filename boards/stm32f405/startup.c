// From reset to main(): vector table, stack, FPU, .data and .bss.

#include <stddef.h>

#include "board_gen.h"
#include "fault.h"
#include "layout.h"
#include "port.h"
#include "regs.h"
#include "reset.h"

extern uint32_t stack_top, data_load, data_start, data_end, bss_start, bss_end;

// An interrupt nobody enabled: a programming error, and reported as one.
static void unexpected_handler(void) {
    fault_stop(FAULT_UNEXPECTED_IRQ, (SCB->ICSR & 0x1FF), 0, NULL);
}

#define UART_HANDLER(number, name, ...) \
    static void name##_handler(void) { uart_interrupt(number); }
BOARD_UARTS(UART_HANDLER)

typedef void (*handler_t)(void);

typedef struct {
    uint32_t *stack;
    handler_t core[15];
    handler_t irq[82];
} vectors_t;

#define UART_VECTOR(number, name, base, irq_number, ...) [irq_number] = name##_handler,

// Empty places are 0: no interrupt is enabled that is not named here, and one that came all the
// same would be a fetch from a wrong address, so a HardFault with its record.
__attribute__((section(".isr_vector"), used))
static const vectors_t vectors = {
    .stack = &stack_top,
    .core = {
        [0] = reset_handler,
        [1] = unexpected_handler, // NMI: the clock security system, never switched on
        [2] = fault_handler,      // HardFault
        [3] = fault_handler,      // MemManage: the stack guard
        [4] = fault_handler,      // BusFault
        [5] = fault_handler,      // UsageFault
        [10] = unexpected_handler,
        [11] = unexpected_handler,
        [13] = unexpected_handler,
        [14] = systick_handler,
    },
    .irq = { BOARD_UARTS(UART_VECTOR) },
};

// Naked: nothing may be pushed before the stack is known to be good. After a reset the chip has
// loaded it from the table already; a debugger that only sets the PC has not.
__attribute__((naked)) void reset_handler(void) {
    __asm volatile ("ldr sp, =stack_top\n b start");
}

__attribute__((used)) static void start(void) {
    // The chip maps flash to address 0 and would find its vectors there. Renode has no such map
    // and forgets its own guess at a reset: set it always.
    SCB->VTOR = (uint32_t)&vectors;
    SCB_CPACR |= 0xFu << 20; // the FPU, before any code the compiler may use it in
    barrier();
    SCB->CCR |= SCB_CCR_STKALIGN | SCB_CCR_DIV_0_TRP;
    for (uint32_t *from = &data_load, *to = &data_start; to < &data_end;) {
        *to++ = *from++;
    }
    for (uint32_t *to = &bss_start; to < &bss_end;) {
        *to++ = 0;
    }
    fault_init();
    clock_init();
    systick_init();
    main();
    reset_by_command(); // main() does not return
}
