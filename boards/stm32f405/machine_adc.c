// machine.ADC, included by MicroPython's extmod/machine_adc.c: ADC("PC1") for the pins of
// board.toml.

#include "adc.h"
#include "machine_port.h"
#include "py/mperrno.h"

#define MICROPY_PY_MACHINE_ADC_CLASS_CONSTANTS

struct _machine_adc_obj_t {
    mp_obj_base_t base;
    uint8_t pin, channel;
};

static void mp_machine_adc_print(const mp_print_t *print, mp_obj_t self_in, mp_print_kind_t kind) {
    (void)kind;
    machine_adc_obj_t *self = MP_OBJ_TO_PTR(self_in);
    mp_printf(print, "ADC(\"P%c%u\")", 'A' + self->pin / 16, self->pin % 16);
}

static mp_obj_t mp_machine_adc_make_new(const mp_obj_type_t *type, size_t n_args, size_t n_kw, const mp_obj_t *args) {
    mp_arg_check_num(n_args, n_kw, 1, 1, false);
    unsigned pin = machine_pin_number(args[0]);
    int channel = adc_channel(pin);
    if (channel < 0) {
        mp_raise_ValueError(MP_ERROR_TEXT("ADC: the board has no analog input at this pin"));
    }
    adc_open(pin);
    machine_adc_obj_t *self = mp_obj_malloc(machine_adc_obj_t, type);
    self->pin = pin;
    self->channel = channel;
    return MP_OBJ_FROM_PTR(self);
}

// 12 bits spread over 16, so that full scale is 65535. OSError(ETIMEDOUT): no conversion ended.
static mp_int_t mp_machine_adc_read_u16(machine_adc_obj_t *self) {
    uint16_t raw;
    if (!adc_read(self->channel, &raw)) {
        mp_raise_OSError(MP_ETIMEDOUT);
    }
    return raw << 4 | raw >> 8;
}
