// os.urandom, included by MicroPython's extmod/modos.c.

#include "random.h"

static mp_obj_t mp_os_urandom(mp_obj_t count) {
    mp_int_t size = mp_obj_get_int(count);
    vstr_t text;
    vstr_init_len(&text, size);
    random_fill((uint8_t *)text.buf, size);
    return mp_obj_new_bytes_from_vstr(&text);
}
static MP_DEFINE_CONST_FUN_OBJ_1(mp_os_urandom_obj, mp_os_urandom);
