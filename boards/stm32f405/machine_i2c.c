// machine.I2C: I2C(1, freq=100000), on the pins of board.toml.

#include "extmod/modmachine.h"
#include "i2c.h"
#include "py/mperrno.h"
#include "py/runtime.h"

typedef struct {
    mp_obj_base_t base;
    uint32_t freq;
} machine_i2c_obj_t;

static machine_i2c_obj_t machine_i2c = { { &machine_i2c_type }, 0 };

static void machine_i2c_print(const mp_print_t *print, mp_obj_t self_in, mp_print_kind_t kind) {
    (void)kind;
    machine_i2c_obj_t *self = MP_OBJ_TO_PTR(self_in);
    mp_printf(print, "I2C(1, freq=%u)", (unsigned)self->freq);
}

static void machine_i2c_init(mp_obj_base_t *self_in, size_t n_args, const mp_obj_t *args, mp_map_t *kw) {
    static const mp_arg_t allowed[] = {
        { MP_QSTR_freq, MP_ARG_KW_ONLY | MP_ARG_INT, {.u_int = 100000} },
    };
    mp_arg_val_t got[MP_ARRAY_SIZE(allowed)];
    mp_arg_parse_all(n_args, args, kw, MP_ARRAY_SIZE(allowed), allowed, got);
    mp_int_t freq = got[0].u_int;
    if (freq < 10000 || freq > 400000) {
        mp_raise_msg_varg(&mp_type_ValueError, MP_ERROR_TEXT("freq: expected 10000 to 400000 Hz, got %d"), (int)freq);
    }
    ((machine_i2c_obj_t *)self_in)->freq = freq;
    i2c_open(freq);
}

static mp_obj_t machine_i2c_make_new(const mp_obj_type_t *type, size_t n_args, size_t n_kw, const mp_obj_t *args) {
    (void)type;
    mp_arg_check_num(n_args, n_kw, 1, 1, true);
    if (mp_obj_get_int(args[0]) != 1) {
        mp_raise_msg_varg(&mp_type_ValueError, MP_ERROR_TEXT("I2C: expected 1, got %d"), (int)mp_obj_get_int(args[0]));
    }
    mp_map_t kw;
    mp_map_init_fixed_table(&kw, n_kw, args + 1);
    machine_i2c_init(&machine_i2c.base, 0, NULL, &kw);
    return MP_OBJ_FROM_PTR(&machine_i2c);
}

static int machine_i2c_transfer(mp_obj_base_t *self, uint16_t address, size_t len, uint8_t *buf, unsigned flags) {
    (void)self;
    bool stop = flags & MP_MACHINE_I2C_FLAG_STOP;
    if (flags & MP_MACHINE_I2C_FLAG_READ) {
        return i2c_read(address, buf, len, stop);
    }
    int error = i2c_write(address, buf, len, stop);
    return error != 0 ? error : (int)len;
}

static const mp_machine_i2c_p_t machine_i2c_protocol = {
    .init = machine_i2c_init,
    .transfer = mp_machine_i2c_transfer_adaptor,
    .transfer_single = machine_i2c_transfer,
};

MP_DEFINE_CONST_OBJ_TYPE(
    machine_i2c_type,
    MP_QSTR_I2C,
    MP_TYPE_FLAG_NONE,
    make_new, machine_i2c_make_new,
    print, machine_i2c_print,
    protocol, &machine_i2c_protocol,
    locals_dict, &mp_machine_i2c_locals_dict
    );
