// Faults: a note in RAM for the next run, then a restart by the hardware watchdog.

#include "fault.h"

#include <string.h>

#include "iwdg.h"
#include "layout.h"
#include "port.h"
#include "regs.h"
#include "reset.h"

// ms a fault waits for the watchdog before it asks for the reset itself.
#define GRACE_MS (1500)
#define BITE_MS (500)
// Between two looks at SysTick, which an emulator has to stop for: 40 us at 16 MHz.
#define LOOK_TURNS (200)

_Static_assert(sizeof(fault_record_t) <= 4 * RESET_NOTE_WORDS, "RESET_NOTE_WORDS is too small");

extern uint32_t stack_bottom, stack_top;
extern const char probe_load[], probe_absent[]; // labels in fault_probe()

static fault_record_t last;

static void guard_stack(void) {
    MPU->RNR = 0;
    MPU->RBAR = (uint32_t)&stack_bottom;
    _Static_assert(LAYOUT_GUARD_SIZE == 1 << 8, "the size field below says 2**8");
    MPU->RASR = (1u << 28) | (7u << 1) | 1u; // no execution, no access, 2**(7+1) bytes, enabled
    MPU->CTRL = (1u << 2) | 1u;              // the default map everywhere else
    SCB->SHCSR |= 7u << 16;                  // MemManage, BusFault and UsageFault on their own
    barrier();
}

void fault_init(void) {
    if (reset_init(&last, sizeof(last))) {
        last.text[sizeof(last.text) - 1] = '\0';
    }
    guard_stack();
}

const fault_record_t *fault_last(void) {
    return last.kind == FAULT_NONE ? NULL : &last;
}

// An empty record of this run's fault, where the next run finds it.
static fault_record_t *new_record(void) {
    return memset(reset_note(), 0, sizeof(fault_record_t));
}

static NORETURN_FN void stop(fault_record_t *fault) {
    fault->uptime_ms = ticks_ms();
    reset_seal_note();
    iwdg_program(BITE_MS);
    // The watchdog needs no help from a CPU in an unknown state, so it goes first. Where there is
    // none (QEMU) or its oscillator is broken, the reset is asked for: never a dead node.
    for (unsigned ms = 0; ms < GRACE_MS;) {
        if (SYSTICK->CTRL & SYSTICK_CTRL_COUNTFLAG) {
            ++ms;
        }
        spin(LOOK_TURNS);
    }
    reset_now();
}

void fault_stop(fault_kind_t kind, uint32_t pc, uint32_t lr, const char *text) {
    (void)irq_off();
    fault_record_t *fault = new_record();
    fault->kind = kind;
    fault->pc = pc;
    fault->lr = lr;
    if (text != NULL) {
        strncpy(fault->text, text, sizeof(fault->text) - 1);
    }
    stop(fault);
}

// Naked, because the stack may be what is broken: the handler goes on with its own, and gives the
// other back only if the fault was a probe's. Nothing preempts it: every priority is the same.
__attribute__((naked)) void fault_handler(void) {
    __asm volatile (
        "mrs r0, msp\n"
        "ldr r1, =fault_stack_top\n"
        "msr msp, r1\n"
        "push {r0, lr}\n"
        "bl fault_report\n"
        "pop {r0, lr}\n"
        "msr msp, r0\n"
        "bx lr\n"
        ".ltorg");
}

// Names the fault from the registers the core keeps and from the frame it pushed, if it could.
__attribute__((used)) static void fault_report(uint32_t *frame) {
    uint32_t cfsr = SCB->CFSR;
    uint32_t address = 0;
    if (cfsr & SCB_CFSR_BFARVALID) {
        address = SCB->BFAR;
    } else if (cfsr & SCB_CFSR_MMARVALID) {
        address = SCB->MMFAR;
    }
    uint32_t guard = (uint32_t)&stack_bottom;
    bool pushed = !(cfsr & (SCB_CFSR_MSTKERR | SCB_CFSR_STKERR)) &&
        (uint32_t)frame >= guard + LAYOUT_GUARD_SIZE && (uint32_t)frame + 32 <= (uint32_t)&stack_top;
    if (pushed && frame[6] == (uint32_t)probe_load) {
        frame[6] = (uint32_t)probe_absent;
        SCB->CFSR = cfsr; // write 1 to clear
        return;
    }
    (void)irq_off();
    bool in_guard = (cfsr & SCB_CFSR_MMARVALID) && address - guard < LAYOUT_GUARD_SIZE;
    fault_record_t *fault = new_record();
    fault->kind = !pushed || in_guard ? FAULT_STACK : FAULT_HARD;
    fault->cfsr = cfsr;
    fault->address = address;
    if (pushed) {
        fault->lr = frame[5];
        fault->pc = frame[6];
    }
    stop(fault);
}

// One load whose bus fault is an answer. The core has a bit for such probes (CCR.BFHFNMIGN), but
// QEMU 7.2 does not know it and stops; a handler that goes on elsewhere works everywhere.
__attribute__((naked)) bool fault_probe(__attribute__((unused)) uint32_t address,
    __attribute__((unused)) uint32_t *word) {
    __asm volatile (
        ".global probe_load\n"
        ".global probe_absent\n"
        "probe_load: ldr r2, [r0]\n"
        "str r2, [r1]\n"
        "movs r0, #1\n"
        "bx lr\n"
        "probe_absent: movs r0, #0\n"
        "bx lr");
}
