// Faults: a record in RAM that a reset leaves alone, then a restart by the watchdog.
//
// The record also answers why the chip was reset where RCC_CSR cannot: it does not tell a fault
// from a hang, and the emulators do not set its flags (QEMU's reads 0, Renode's always says
// "power on").

#include "fault.h"

#include <string.h>

#include "layout.h"
#include "port.h"
#include "regs.h"
#include "reset.h"
#include "watchdog.h"

#define MAGIC (0x7F4A1C05u)
// ms a fault waits for the watchdog before it asks for the reset itself.
#define GRACE_MS (1500)
// Between two looks at SysTick, which an emulator has to stop for: 40 us at 16 MHz.
#define LOOK_TURNS (200)

typedef enum { INTENT_NONE, INTENT_COMMAND, INTENT_FAULT } intent_t;

typedef struct {
    uint32_t magic;
    uint32_t intent;
    uint32_t watchdog_runs;
    fault_record_t fault;
    uint32_t seal;
} record_t;

_Static_assert(sizeof(record_t) <= LAYOUT_RECORD_SIZE, "LAYOUT_RECORD_SIZE is too small");

extern uint32_t stack_bottom, stack_top;
extern const char probe_load[], probe_absent[]; // labels in fault_probe()
extern record_t record_start; // by the linker script, in no section: nothing initialises it

static fault_record_t last;
static reset_cause_t cause;

static uint32_t seal_of(const record_t *record) {
    uint32_t sum = 0;
    for (const uint32_t *word = (const uint32_t *)record; word < &record->seal; ++word) {
        sum = (sum << 1 | sum >> 31) ^ *word;
    }
    return ~sum;
}

static void seal(void) {
    record_start.magic = MAGIC;
    record_start.seal = seal_of(&record_start);
    barrier();
}

static reset_cause_t find_cause(bool known, uint32_t csr) {
    if (csr & (RCC_CSR_IWDGRSTF | RCC_CSR_WWDGRSTF)) {
        return RESET_WATCHDOG;
    }
    if (known && record_start.intent == INTENT_FAULT) {
        return RESET_WATCHDOG; // the fault's own request came before a watchdog did
    }
    if (known && record_start.intent == INTENT_COMMAND) {
        return RESET_COMMAND;
    }
    bool pin_alone = (csr & RCC_CSR_PINRSTF) && !(csr & RCC_CSR_PORRSTF);
    if (known && record_start.watchdog_runs && !pin_alone) {
        // Only a watchdog ends a run without a word. RAM that survived outweighs PORRSTF: it does
        // not survive a real power-on, and Renode shows PORRSTF after every reset.
        return RESET_WATCHDOG;
    }
    return known || pin_alone ? RESET_PIN : RESET_POWER_ON;
}

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
    uint32_t csr = RCC->CSR;
    RCC->CSR = csr | RCC_CSR_RMVF;
    bool known = record_start.magic == MAGIC && record_start.seal == seal_of(&record_start);
    cause = find_cause(known, csr);
    if (known && record_start.intent == INTENT_FAULT) {
        last = record_start.fault;
        last.text[sizeof(last.text) - 1] = '\0';
    }
    memset(&record_start, 0, sizeof(record_start));
    seal();
    guard_stack();
}

reset_cause_t reset_cause(void) {
    return cause;
}

const fault_record_t *fault_last(void) {
    return last.kind == FAULT_NONE ? NULL : &last;
}

void reset_note_watchdog(void) {
    record_start.watchdog_runs = 1;
    seal();
}

static NORETURN_FN void request_reset(void) {
    barrier();
    SCB->AIRCR = SCB_AIRCR_SYSRESETREQ;
    for (;;) {
    }
}

void machine_restart(void) {
    (void)irq_off();
    record_start.intent = INTENT_COMMAND;
    seal();
    request_reset();
}

static NORETURN_FN void stop(void) {
    record_start.intent = INTENT_FAULT;
    record_start.fault.uptime_ms = ticks_ms();
    seal();
    watchdog_bite_soon();
    // The watchdog needs no help from a CPU in an unknown state, so it goes first. Where there is
    // none (QEMU) or its oscillator is broken, the reset is asked for: never a dead node.
    for (unsigned ms = 0; ms < GRACE_MS;) {
        if (SYSTICK->CTRL & SYSTICK_CTRL_COUNTFLAG) {
            ++ms;
        }
        spin(LOOK_TURNS);
    }
    request_reset();
}

void fault_stop(fault_kind_t kind, uint32_t pc, uint32_t lr, const char *text) {
    (void)irq_off();
    fault_record_t *fault = &record_start.fault;
    memset(fault, 0, sizeof(*fault));
    fault->kind = kind;
    fault->pc = pc;
    fault->lr = lr;
    if (text != NULL) {
        strncpy(fault->text, text, sizeof(fault->text) - 1);
    }
    stop();
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
    fault_record_t *fault = &record_start.fault;
    memset(fault, 0, sizeof(*fault));
    fault->kind = !pushed || in_guard ? FAULT_STACK : FAULT_HARD;
    fault->cfsr = cfsr;
    fault->address = address;
    if (pushed) {
        fault->lr = frame[5];
        fault->pc = frame[6];
    }
    stop();
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
