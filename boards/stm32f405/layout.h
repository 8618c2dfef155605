// Sizes in bytes of what lies in RAM below the data; read by C and by the linker script.
#pragma once

#define LAYOUT_GUARD_SIZE (256)
#define LAYOUT_STACK_SIZE (0x4000)
#define LAYOUT_FAULT_STACK_SIZE (0x200)
#define LAYOUT_RECORD_SIZE (0x80)
#define LAYOUT_LOW_SIZE (LAYOUT_STACK_SIZE + LAYOUT_FAULT_STACK_SIZE + LAYOUT_RECORD_SIZE)
#define LAYOUT_HEAP_MIN (88 * 1024)
