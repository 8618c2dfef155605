// What of MicroPython is in the image.
#pragma once

#include <alloca.h>
#include <stdint.h>

#define MICROPY_CONFIG_ROM_LEVEL (MICROPY_CONFIG_ROM_LEVEL_EXTRA_FEATURES)

// Compiler: native and viper code and inline assembler for this core.
#define MICROPY_EMIT_THUMB (1)
#define MICROPY_EMIT_INLINE_THUMB (1)
#define MICROPY_MAKE_POINTER_CALLABLE(p) ((void *)((mp_uint_t)(p) | 1))
#define MICROPY_PERSISTENT_CODE_LOAD (1)

#define MICROPY_OPT_COMPUTED_GOTO (1)

// Memory: the margin is what C code between two stack checks may need.
#define MICROPY_ENABLE_GC (1)
#define MICROPY_STACK_CHECK_MARGIN (2048)
#define MICROPY_ENABLE_EMERGENCY_EXCEPTION_BUF (1)
#define MICROPY_EMERGENCY_EXCEPTION_BUF_SIZE (256)
#define MICROPY_QSTR_BYTES_IN_HASH (1)

#define MICROPY_LONGINT_IMPL (MICROPY_LONGINT_IMPL_MPZ)
#define MICROPY_FLOAT_IMPL (MICROPY_FLOAT_IMPL_FLOAT)
#define MP_NEED_LOG2 (1) // libm has no log2f
#define MICROPY_WARNINGS (1)
#define MICROPY_STREAMS_NON_BLOCK (1)
#define MICROPY_USE_INTERNAL_PRINTF (1)
#define MICROPY_USE_INTERNAL_ERRNO (1) // Linux's numbers, as the unix port's; newlib has others
#define MICROPY_SCHEDULER_DEPTH (8)

// No file system lives on the board; VFS is there for `mpremote mount` while developing, and the
// format of a ROMFS for the applications in the slots (applications.c).
#define MICROPY_VFS (1)
#define MICROPY_READER_VFS (1)
#define MICROPY_PY_VFS (1)
#define MICROPY_VFS_ROM (1)
#define MICROPY_VFS_ROM_IOCTL (0)

// Modules.
#define MICROPY_PY___FILE__ (0) // of a frozen module it is its name, in the heap
#define MICROPY_PY_SYS_PLATFORM "stm32f405"
#define MICROPY_PY_HASHLIB_SHA256 (1)
#define MICROPY_PY_CRYPTOLIB (0)
#define MICROPY_PY_FRAMEBUF (0)
#define MICROPY_PY_DEFLATE (1) // binascii.crc32 lives in it
#define MICROPY_PY_ONEWIRE (1)
#define MICROPY_PY_OS_DUPTERM (0)
#define MICROPY_PY_OS_SYNC (0)
#define MICROPY_PY_OS_UNAME (1)
#define MICROPY_PY_OS_URANDOM (1)
#define MICROPY_PY_OS_INCLUDEFILE "boards/stm32f405/modos.c"
#define MICROPY_PY_RANDOM_SEED_INIT_FUNC (random_seed())
#define MICROPY_PY_TIME_TIME_TIME_NS (0)
#define MICROPY_PY_TIME_GMTIME_LOCALTIME_MKTIME (0)

#define MICROPY_PY_MACHINE (1)
#define MICROPY_PY_MACHINE_INCLUDEFILE "boards/stm32f405/modmachine.c"
#define MICROPY_PY_MACHINE_BARE_METAL_FUNCS (1)
#define MICROPY_PY_MACHINE_DISABLE_IRQ_ENABLE_IRQ (1)
#define MICROPY_PY_MACHINE_RESET (1)
#define MICROPY_PY_MACHINE_SIGNAL (0)
#define MICROPY_PY_MACHINE_ADC (1)
#define MICROPY_PY_MACHINE_ADC_INCLUDEFILE "boards/stm32f405/machine_adc.c"
#define MICROPY_PY_MACHINE_I2C (1)
#define MICROPY_PY_MACHINE_PULSE (1)
#define MICROPY_PY_MACHINE_UART (1)
#define MICROPY_PY_MACHINE_UART_INCLUDEFILE "boards/stm32f405/machine_uart.c"
#define MICROPY_PY_MACHINE_WDT (1)
#define MICROPY_PY_MACHINE_WDT_INCLUDEFILE "boards/stm32f405/machine_wdt.c"

#define MICROPY_HW_BOARD_NAME "tianfu-edge node"
#define MICROPY_HW_MCU_NAME "STM32F405"

typedef intptr_t mp_int_t;
typedef uintptr_t mp_uint_t;
typedef long mp_off_t;
#define MP_SSIZE_MAX (0x7FFFFFFF)

uint32_t random_seed(void);

#define MP_STATE_PORT MP_STATE_VM
