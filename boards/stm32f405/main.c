// The Python side: heap, the application, the REPL, soft resets.

#include "applications.h"
#include "console.h"
#include "fault.h"
#include "layout.h"
#include "machine_port.h"
#include "port.h"
#include "py/builtin.h"
#include "py/cstack.h"
#include "py/gc.h"
#include "py/mphal.h"
#include "py/objmodule.h"
#include "py/runtime.h"
#include "shared/readline/readline.h"
#include "shared/runtime/gchelper.h"
#include "shared/runtime/interrupt_char.h"
#include "shared/runtime/pyexec.h"

extern char stack_top, heap_start, heap_end;

// The application is a frozen module main with a function run(): a module, so that what it holds
// is still there when the REPL imports it. Returns to the REPL when it ends or Ctrl-C ends it;
// false: it asked for a soft reset (SystemExit). Any other exception is a fault.
static bool run_application(void) {
    nlr_buf_t nlr;
    if (nlr_push(&nlr) == 0) {
        applications_mount();
        mp_hal_set_interrupt_char(CHAR_CTRL_C);
        mp_obj_t module = mp_import_name(MP_QSTR_main, mp_const_none, MP_OBJ_NEW_SMALL_INT(0));
        mp_call_function_0(mp_load_attr(module, MP_QSTR_run));
        mp_hal_set_interrupt_char(-1);
        mp_handle_pending(true);
        nlr_pop();
        return true;
    }
    mp_hal_set_interrupt_char(-1);
    mp_handle_pending(false);
    mp_obj_t exception = MP_OBJ_FROM_PTR(nlr.ret_val);
    mp_obj_t type = MP_OBJ_FROM_PTR(mp_obj_get_type(exception));
    if (mp_obj_is_subclass_fast(type, MP_OBJ_FROM_PTR(&mp_type_SystemExit))) {
        return false;
    }
    mp_obj_print_exception(&mp_plat_print, exception);
    if (mp_obj_is_subclass_fast(type, MP_OBJ_FROM_PTR(&mp_type_KeyboardInterrupt))) {
        return true;
    }
    bool memory = mp_obj_is_subclass_fast(type, MP_OBJ_FROM_PTR(&mp_type_MemoryError));
    fault_stop(memory ? FAULT_MEMORY : FAULT_APPLICATION, 0, 0, mp_obj_get_type_str(exception));
}

static void repl(void) {
    for (;;) {
        int ended = pyexec_mode_kind == PYEXEC_MODE_RAW_REPL ? pyexec_raw_repl() : pyexec_friendly_repl();
        if (ended != 0) {
            return;
        }
    }
}

int main(void) {
    console_init();
    applications_boot();
    for (;;) {
        mp_cstack_init_with_top(&stack_top, LAYOUT_STACK_SIZE - LAYOUT_GUARD_SIZE);
        gc_init(&heap_start, &heap_end);
        mp_init();
        readline_init0();
        // A soft reset out of the raw REPL is a tool's: it wants an empty interpreter.
        if (pyexec_mode_kind == PYEXEC_MODE_RAW_REPL || run_application()) {
            repl();
        }
        mp_hal_stdout_tx_str("MPY: soft reboot\r\n");
        machine_uart_deinit_all();
        gc_sweep_all();
        mp_deinit();
    }
}

void gc_collect(void) {
    gc_collect_start();
    gc_helper_collect_regs_and_stack();
    gc_collect_end();
}

// An exception with no handler left: a defect of the C code.
void nlr_jump_fail(void *value) {
    (void)value;
    fault_stop(FAULT_UNCAUGHT, 0, (uint32_t)__builtin_return_address(0), "nlr_jump_fail");
}

#ifndef NDEBUG
void __assert_func(const char *file, int line, const char *function, const char *expression) {
    (void)file, (void)function;
    fault_stop(FAULT_UNCAUGHT, line, (uint32_t)__builtin_return_address(0), expression);
}
#endif
