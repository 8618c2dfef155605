// Classes of the machine module that have no declaration in MicroPython's extmod.
#pragma once

#include "py/obj.h"

void machine_uart_deinit_all(void);
unsigned machine_pin_number(mp_obj_t pin); // of a Pin or a name such as "PA1"; ValueError
