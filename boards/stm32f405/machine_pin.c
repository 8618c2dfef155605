// machine.Pin: Pin("PB4", Pin.OPEN_DRAIN), Pin("PA1", Pin.OUT, value=0).

#include "extmod/modmachine.h"
#include "extmod/virtpin.h"
#include "machine_port.h"
#include "py/mphal.h"
#include "py/runtime.h"

typedef struct {
    mp_obj_base_t base;
    uint8_t number;
    bool open_drain;
} machine_pin_obj_t;

enum { MODE_IN, MODE_OUT, MODE_OPEN_DRAIN, MODE_ALT, MODE_ANALOG };

unsigned machine_pin_number(mp_obj_t pin) {
    if (mp_obj_is_type(pin, &machine_pin_type)) {
        return ((machine_pin_obj_t *)MP_OBJ_TO_PTR(pin))->number;
    }
    const char *name = mp_obj_str_get_str(pin);
    unsigned number = 0, digits = 0;
    if (name[0] == 'P' && name[1] >= 'A' && name[1] <= 'I') {
        for (const char *c = name + 2; *c >= '0' && *c <= '9' && digits < 3; ++c) {
            number = number * 10 + (*c - '0');
            ++digits;
        }
        if (digits != 0 && number < 16 && name[2 + digits] == '\0') {
            return (name[1] - 'A') * 16 + number;
        }
    }
    mp_raise_msg_varg(&mp_type_ValueError, MP_ERROR_TEXT("pin: expected PA0 to PI15, got %s"), name);
}

mp_hal_pin_obj_t mp_hal_get_pin_obj(mp_obj_t pin) {
    return machine_pin_number(pin);
}

static void machine_pin_print(const mp_print_t *print, mp_obj_t self_in, mp_print_kind_t kind) {
    (void)kind;
    machine_pin_obj_t *self = MP_OBJ_TO_PTR(self_in);
    mp_printf(print, "Pin(\"P%c%u\")", 'A' + self->number / 16, self->number % 16);
}

static void machine_pin_setup(machine_pin_obj_t *self, size_t n_args, const mp_obj_t *args, mp_map_t *kw) {
    enum { ARG_mode, ARG_pull, ARG_value, ARG_alt };
    static const mp_arg_t allowed[] = {
        { MP_QSTR_mode, MP_ARG_INT, {.u_int = -1} },
        { MP_QSTR_pull, MP_ARG_OBJ, {.u_rom_obj = MP_ROM_NONE} },
        { MP_QSTR_value, MP_ARG_KW_ONLY | MP_ARG_OBJ, {.u_rom_obj = MP_ROM_NONE} },
        { MP_QSTR_alt, MP_ARG_KW_ONLY | MP_ARG_INT, {.u_int = 0} },
    };
    mp_arg_val_t got[MP_ARRAY_SIZE(allowed)];
    mp_arg_parse_all(n_args, args, kw, MP_ARRAY_SIZE(allowed), allowed, got);
    if (got[ARG_mode].u_int < 0) {
        return;
    }
    static const pin_mode_t modes[] = {
        [MODE_IN] = PIN_INPUT, [MODE_OUT] = PIN_OUTPUT, [MODE_OPEN_DRAIN] = PIN_OUTPUT,
        [MODE_ALT] = PIN_ALTERNATE, [MODE_ANALOG] = PIN_ANALOG,
    };
    mp_int_t mode = got[ARG_mode].u_int;
    mp_int_t pull = got[ARG_pull].u_obj == mp_const_none ? 0 : mp_obj_get_int(got[ARG_pull].u_obj);
    mp_int_t alt = got[ARG_alt].u_int;
    if (mode > MODE_ANALOG || pull < PIN_PULL_NONE || pull > PIN_PULL_DOWN || alt < 0 || alt > 15) {
        mp_raise_ValueError(MP_ERROR_TEXT("pin: no such mode, pull or alt"));
    }
    self->open_drain = mode == MODE_OPEN_DRAIN;
    bool level = got[ARG_value].u_obj == mp_const_none ? self->open_drain : mp_obj_is_true(got[ARG_value].u_obj);
    if (modes[mode] == PIN_OUTPUT) {
        // The port takes the level only with its clock on, and the pin must not glitch on its
        // way to an output: clock, level, mode.
        RCC->AHB1ENR |= 1u << (self->number / 16);
        (void)RCC->AHB1ENR;
        pin_set(self->number, level);
    }
    pin_configure(self->number, modes[mode], self->open_drain, pull, alt);
}

static mp_obj_t machine_pin_make_new(const mp_obj_type_t *type, size_t n_args, size_t n_kw, const mp_obj_t *args) {
    mp_arg_check_num(n_args, n_kw, 1, MP_OBJ_FUN_ARGS_MAX, true);
    machine_pin_obj_t *self = mp_obj_malloc(machine_pin_obj_t, type);
    self->number = machine_pin_number(args[0]);
    self->open_drain = false;
    mp_map_t kw;
    mp_map_init_fixed_table(&kw, n_kw, args + n_args);
    machine_pin_setup(self, n_args - 1, args + 1, &kw);
    return MP_OBJ_FROM_PTR(self);
}

static mp_obj_t machine_pin_init(size_t n_args, const mp_obj_t *args, mp_map_t *kw) {
    machine_pin_setup(MP_OBJ_TO_PTR(args[0]), n_args - 1, args + 1, kw);
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_KW(machine_pin_init_obj, 1, machine_pin_init);

static mp_obj_t machine_pin_call(mp_obj_t self_in, size_t n_args, size_t n_kw, const mp_obj_t *args) {
    mp_arg_check_num(n_args, n_kw, 0, 1, false);
    machine_pin_obj_t *self = MP_OBJ_TO_PTR(self_in);
    if (n_args == 0) {
        return MP_OBJ_NEW_SMALL_INT(pin_get(self->number));
    }
    pin_set(self->number, mp_obj_is_true(args[0]));
    return mp_const_none;
}

static mp_obj_t machine_pin_value(size_t n_args, const mp_obj_t *args) {
    return machine_pin_call(args[0], n_args - 1, 0, args + 1);
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(machine_pin_value_obj, 1, 2, machine_pin_value);

static mp_obj_t machine_pin_on(mp_obj_t self_in) {
    pin_set(((machine_pin_obj_t *)MP_OBJ_TO_PTR(self_in))->number, true);
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_1(machine_pin_on_obj, machine_pin_on);

static mp_obj_t machine_pin_off(mp_obj_t self_in) {
    pin_set(((machine_pin_obj_t *)MP_OBJ_TO_PTR(self_in))->number, false);
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_1(machine_pin_off_obj, machine_pin_off);

static mp_uint_t machine_pin_ioctl(mp_obj_t self_in, mp_uint_t request, uintptr_t arg, int *errcode) {
    (void)errcode;
    machine_pin_obj_t *self = MP_OBJ_TO_PTR(self_in);
    if (request == MP_PIN_READ) {
        return pin_get(self->number);
    }
    if (request == MP_PIN_WRITE) {
        pin_set(self->number, arg);
        return 0;
    }
    return (mp_uint_t)-1;
}

static const mp_pin_p_t machine_pin_protocol = { .ioctl = machine_pin_ioctl };

static const mp_rom_map_elem_t machine_pin_locals_table[] = {
    { MP_ROM_QSTR(MP_QSTR_init), MP_ROM_PTR(&machine_pin_init_obj) },
    { MP_ROM_QSTR(MP_QSTR_value), MP_ROM_PTR(&machine_pin_value_obj) },
    { MP_ROM_QSTR(MP_QSTR_on), MP_ROM_PTR(&machine_pin_on_obj) },
    { MP_ROM_QSTR(MP_QSTR_off), MP_ROM_PTR(&machine_pin_off_obj) },
    { MP_ROM_QSTR(MP_QSTR_IN), MP_ROM_INT(MODE_IN) },
    { MP_ROM_QSTR(MP_QSTR_OUT), MP_ROM_INT(MODE_OUT) },
    { MP_ROM_QSTR(MP_QSTR_OPEN_DRAIN), MP_ROM_INT(MODE_OPEN_DRAIN) },
    { MP_ROM_QSTR(MP_QSTR_ALT), MP_ROM_INT(MODE_ALT) },
    { MP_ROM_QSTR(MP_QSTR_ANALOG), MP_ROM_INT(MODE_ANALOG) },
    { MP_ROM_QSTR(MP_QSTR_PULL_UP), MP_ROM_INT(PIN_PULL_UP) },
    { MP_ROM_QSTR(MP_QSTR_PULL_DOWN), MP_ROM_INT(PIN_PULL_DOWN) },
};
static MP_DEFINE_CONST_DICT(machine_pin_locals, machine_pin_locals_table);

MP_DEFINE_CONST_OBJ_TYPE(
    machine_pin_type,
    MP_QSTR_Pin,
    MP_TYPE_FLAG_NONE,
    make_new, machine_pin_make_new,
    print, machine_pin_print,
    call, machine_pin_call,
    protocol, &machine_pin_protocol,
    locals_dict, &machine_pin_locals
    );
