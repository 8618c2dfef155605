// Module _crc16: what protocols/wire/crc.py does, in C. A node takes the CRC over every byte of the
// line, and the interpreter needs some 7 us for one.
//   crc16(data, length=-1, crc=0xFFFF) -> int   over data[:length]; IndexError if data is shorter

#include "py/runtime.h"

#define POLY (0xA001)

// Of the low and the high half of a byte: two look-ups of 16 entries instead of one of 256.
static uint16_t halves[2][16];

static void make_halves(void) {
    for (unsigned half = 0; half < 2; ++half) {
        for (unsigned value = 0; value < 16; ++value) {
            unsigned crc = value << (4 * half);
            for (unsigned bit = 0; bit < 8; ++bit) {
                crc = (crc >> 1) ^ (crc & 1 ? POLY : 0);
            }
            halves[half][value] = (uint16_t)crc;
        }
    }
}

static mp_obj_t crc16(size_t count, const mp_obj_t *args) {
    mp_buffer_info_t data;
    mp_get_buffer_raise(args[0], &data, MP_BUFFER_READ);
    mp_int_t length = count > 1 ? mp_obj_get_int(args[1]) : -1;
    mp_uint_t crc = count > 2 ? (mp_uint_t)mp_obj_get_int(args[2]) & 0xFFFF : 0xFFFF;
    if (length < 0) {
        length = (mp_int_t)data.len;
    }
    if ((mp_uint_t)length > data.len) {
        mp_raise_type(&mp_type_IndexError);
    }
    if (halves[0][1] == 0) {
        make_halves();
    }
    const uint8_t *bytes = data.buf;
    for (mp_int_t index = 0; index < length; ++index) {
        mp_uint_t low = (crc ^ bytes[index]) & 0xFF;
        crc = (crc >> 8) ^ halves[0][low & 15] ^ halves[1][low >> 4];
    }
    return MP_OBJ_NEW_SMALL_INT(crc);
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(crc16_obj, 1, 3, crc16);

static const mp_rom_map_elem_t crc16_globals_table[] = {
    { MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR__crc16) },
    { MP_ROM_QSTR(MP_QSTR_crc16), MP_ROM_PTR(&crc16_obj) },
};
static MP_DEFINE_CONST_DICT(crc16_globals, crc16_globals_table);

const mp_obj_module_t crc16_module = {
    .base = { &mp_type_module },
    .globals = (mp_obj_dict_t *)&crc16_globals,
};
MP_REGISTER_MODULE(MP_QSTR__crc16, crc16_module);
