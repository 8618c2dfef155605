// machine.UART, included by MicroPython's extmod/machine_uart.c:
// UART(2, 9600, de="PA1", rxbuf=512). Without `de` the board's own pin drives the line (board.toml);
// None means no pin. Nothing waits unless a timeout is given.
// Of its own: last_rx_us(), ticks_us() of the last byte received; errors(), how often since the
// UART was opened (overrun, framing, noise, parity).

#include "machine_port.h"
#include "py/smallint.h"
#include "py/mperrno.h"
#include "py/mphal.h"
#include "uart.h"

#define BUFFER_MIN (32)
#define BUFFER_MAX (32767)
#define UART_COUNT (6)

struct _machine_uart_obj_t {
    mp_obj_base_t base;
    uart_t *uart;
    uint8_t bits, parity, stop;
    int8_t de;
    uint16_t timeout, timeout_char; // ms
};

static machine_uart_obj_t machine_uart_objects[UART_COUNT];

// Receive and send buffer of each, in one block.
MP_REGISTER_ROOT_POINTER(uint8_t *machine_uart_buffers[6]);

static void mp_machine_uart_print(const mp_print_t *print, mp_obj_t self_in, mp_print_kind_t kind) {
    (void)kind;
    static const char *const parities[] = { "None", "0", "1" };
    machine_uart_obj_t *self = MP_OBJ_TO_PTR(self_in);
    uart_t *uart = self->uart;
    mp_printf(print, "UART(%u, baudrate=%u, bits=%u, parity=%s, stop=%u, rxbuf=%u, txbuf=%u, timeout=%u)",
        uart->number, (unsigned)uart->baudrate, self->bits, parities[self->parity], self->stop,
        uart->rx.size - 1, uart->tx.size - 1, self->timeout);
}

static size_t buffer_size(qstr name, mp_int_t size) {
    if (size < BUFFER_MIN || size > BUFFER_MAX) {
        mp_raise_msg_varg(&mp_type_ValueError, MP_ERROR_TEXT("%q: expected %d to %d bytes, got %d"),
            name, BUFFER_MIN, BUFFER_MAX, (int)size);
    }
    return size + 1;
}

static void mp_machine_uart_init_helper(machine_uart_obj_t *self, size_t n_args, const mp_obj_t *args, mp_map_t *kw) {
    enum { ARG_baudrate, ARG_bits, ARG_parity, ARG_stop, ARG_de, ARG_timeout, ARG_timeout_char, ARG_rxbuf, ARG_txbuf };
    static const mp_arg_t allowed[] = {
        { MP_QSTR_baudrate, MP_ARG_INT, {.u_int = 9600} },
        { MP_QSTR_bits, MP_ARG_INT, {.u_int = 8} },
        { MP_QSTR_parity, MP_ARG_OBJ, {.u_rom_obj = MP_ROM_NONE} },
        { MP_QSTR_stop, MP_ARG_INT, {.u_int = 1} },
        { MP_QSTR_de, MP_ARG_KW_ONLY | MP_ARG_OBJ, {.u_rom_obj = MP_ROM_INT(-1)} },
        { MP_QSTR_timeout, MP_ARG_KW_ONLY | MP_ARG_INT, {.u_int = 0} },
        { MP_QSTR_timeout_char, MP_ARG_KW_ONLY | MP_ARG_INT, {.u_int = 0} },
        { MP_QSTR_rxbuf, MP_ARG_KW_ONLY | MP_ARG_INT, {.u_int = 512} },
        { MP_QSTR_txbuf, MP_ARG_KW_ONLY | MP_ARG_INT, {.u_int = 260} },
    };
    mp_arg_val_t got[MP_ARRAY_SIZE(allowed)];
    mp_arg_parse_all(n_args, args, kw, MP_ARRAY_SIZE(allowed), allowed, got);

    uart_t *uart = self->uart;
    self->bits = got[ARG_bits].u_int;
    self->stop = got[ARG_stop].u_int;
    self->parity = PARITY_NONE;
    if (got[ARG_parity].u_obj != mp_const_none) {
        self->parity = mp_obj_get_int(got[ARG_parity].u_obj) & 1 ? PARITY_ODD : PARITY_EVEN;
    }
    if (self->bits != 8 && !(self->bits == 7 && self->parity != PARITY_NONE)) {
        mp_raise_ValueError(MP_ERROR_TEXT("bits: expected 8, or 7 with a parity"));
    }
    if (self->stop != 1 && self->stop != 2) {
        mp_raise_ValueError(MP_ERROR_TEXT("stop: expected 1 or 2"));
    }
    mp_obj_t de = got[ARG_de].u_obj;
    self->de = de == mp_const_none ? -1 : mp_obj_is_int(de) ? uart->board_de : (int)machine_pin_number(de);
    self->timeout = got[ARG_timeout].u_int;
    self->timeout_char = got[ARG_timeout_char].u_int;

    size_t rx_size = buffer_size(MP_QSTR_rxbuf, got[ARG_rxbuf].u_int);
    size_t tx_size = buffer_size(MP_QSTR_txbuf, got[ARG_txbuf].u_int);
    uart_close(uart); // before its buffers may be collected
    uint8_t *buffers = m_new(uint8_t, rx_size + tx_size);
    MP_STATE_PORT(machine_uart_buffers)[uart->number - 1] = buffers;
    if (!uart_open(uart, got[ARG_baudrate].u_int, self->bits, self->parity, self->stop, self->de,
            buffers, rx_size, buffers + rx_size, tx_size)) {
        mp_raise_msg_varg(&mp_type_ValueError, MP_ERROR_TEXT("baudrate: expected %d to %d, got %d"),
            (int)(clock_apb(uart->apb) / 0xFFFF + 1), (int)(clock_apb(uart->apb) / 16),
            (int)got[ARG_baudrate].u_int);
    }
}

static mp_obj_t mp_machine_uart_make_new(const mp_obj_type_t *type, size_t n_args, size_t n_kw, const mp_obj_t *args) {
    mp_arg_check_num(n_args, n_kw, 1, MP_OBJ_FUN_ARGS_MAX, true);
    mp_int_t number = mp_obj_get_int(args[0]);
    uart_t *uart = uart_find(number);
    if (uart == NULL || number == BOARD_UART_CONSOLE) {
        mp_raise_msg_varg(&mp_type_ValueError,
            MP_ERROR_TEXT("UART: expected 2 to 6 (1 is the console), got %d"), (int)number);
    }
    machine_uart_obj_t *self = &machine_uart_objects[number - 1];
    self->base.type = type;
    self->uart = uart;
    mp_map_t kw;
    mp_map_init_fixed_table(&kw, n_kw, args + n_args);
    mp_machine_uart_init_helper(self, n_args - 1, args + 1, &kw);
    return MP_OBJ_FROM_PTR(self);
}

static void mp_machine_uart_deinit(machine_uart_obj_t *self) {
    uart_close(self->uart);
    MP_STATE_PORT(machine_uart_buffers)[self->uart->number - 1] = NULL;
}

void machine_uart_deinit_all(void) {
    for (size_t i = 0; i < UART_COUNT; ++i) {
        if (machine_uart_objects[i].uart != NULL) {
            mp_machine_uart_deinit(&machine_uart_objects[i]);
        }
    }
}

static mp_int_t mp_machine_uart_any(machine_uart_obj_t *self) {
    return uart_available(self->uart);
}

static bool mp_machine_uart_txdone(machine_uart_obj_t *self) {
    return uart_idle(self->uart);
}

static bool closed(machine_uart_obj_t *self, int *errcode) {
    if (self->uart->rx.buf != NULL) {
        return false;
    }
    *errcode = MP_EBADF;
    return true;
}

static mp_uint_t mp_machine_uart_read(mp_obj_t self_in, void *to, mp_uint_t size, int *errcode) {
    machine_uart_obj_t *self = MP_OBJ_TO_PTR(self_in);
    if (closed(self, errcode)) {
        return MP_STREAM_ERROR;
    }
    uint32_t start = ticks_ms();
    mp_uint_t count = 0;
    uint32_t limit = self->timeout;
    while (count < size) {
        size_t got = uart_read(self->uart, (uint8_t *)to + count, size - count);
        if (got != 0) {
            count += got;
            start = ticks_ms();
            limit = self->timeout_char;
        } else if (ticks_ms() - start >= limit) {
            break;
        } else {
            mp_event_wait_ms(1);
        }
    }
    if (count == 0 && size != 0) {
        *errcode = MP_EAGAIN;
        return MP_STREAM_ERROR;
    }
    return count;
}

// Waits while the buffer is full, at most for the time the bytes take on the wire.
static mp_uint_t mp_machine_uart_write(mp_obj_t self_in, const void *from, mp_uint_t size, int *errcode) {
    machine_uart_obj_t *self = MP_OBJ_TO_PTR(self_in);
    if (closed(self, errcode)) {
        return MP_STREAM_ERROR;
    }
    uint64_t end = ticks_us64() + (uint64_t)(size + self->uart->tx.size) * self->uart->char_us + 10000;
    mp_uint_t count = uart_send(self->uart, from, size);
    while (count < size && ticks_us64() < end) {
        mp_event_wait_ms(1);
        count += uart_send(self->uart, (const uint8_t *)from + count, size - count);
    }
    if (count == 0 && size != 0) {
        *errcode = MP_EAGAIN;
        return MP_STREAM_ERROR;
    }
    return count;
}

static mp_uint_t mp_machine_uart_ioctl(mp_obj_t self_in, mp_uint_t request, uintptr_t arg, int *errcode) {
    machine_uart_obj_t *self = MP_OBJ_TO_PTR(self_in);
    uart_t *uart = self->uart;
    if (request == MP_STREAM_CLOSE) {
        mp_machine_uart_deinit(self);
        return 0;
    }
    if (closed(self, errcode)) {
        return request == MP_STREAM_POLL ? MP_STREAM_POLL_NVAL : MP_STREAM_ERROR;
    }
    if (request == MP_STREAM_POLL) {
        mp_uint_t ready = 0;
        if ((arg & MP_STREAM_POLL_RD) && uart_available(uart) != 0) {
            ready |= MP_STREAM_POLL_RD;
        }
        if ((arg & MP_STREAM_POLL_WR) && uart_room(uart) != 0) {
            ready |= MP_STREAM_POLL_WR;
        }
        return ready;
    }
    if (request == MP_STREAM_FLUSH) {
        uint64_t end = ticks_us64() + (uint64_t)(uart->tx.size + 2) * uart->char_us + 10000;
        while (!uart_idle(uart)) {
            if (ticks_us64() > end) {
                *errcode = MP_ETIMEDOUT;
                return MP_STREAM_ERROR;
            }
            mp_event_handle_nowait();
        }
        return 0;
    }
    *errcode = MP_EINVAL;
    return MP_STREAM_ERROR;
}

static mp_obj_t machine_uart_last_rx_us(mp_obj_t self_in) {
    machine_uart_obj_t *self = MP_OBJ_TO_PTR(self_in);
    return MP_OBJ_NEW_SMALL_INT(self->uart->last_rx_us & (MICROPY_PY_TIME_TICKS_PERIOD - 1));
}
static MP_DEFINE_CONST_FUN_OBJ_1(machine_uart_last_rx_us_obj, machine_uart_last_rx_us);

static mp_obj_t machine_uart_errors(mp_obj_t self_in) {
    uart_t *uart = ((machine_uart_obj_t *)MP_OBJ_TO_PTR(self_in))->uart;
    mp_obj_t items[] = {
        mp_obj_new_int_from_uint(uart->overruns), mp_obj_new_int_from_uint(uart->framing),
        mp_obj_new_int_from_uint(uart->noise), mp_obj_new_int_from_uint(uart->parity),
    };
    return mp_obj_new_tuple(MP_ARRAY_SIZE(items), items);
}
static MP_DEFINE_CONST_FUN_OBJ_1(machine_uart_errors_obj, machine_uart_errors);

#define MICROPY_PY_MACHINE_UART_CLASS_CONSTANTS \
    { MP_ROM_QSTR(MP_QSTR_last_rx_us), MP_ROM_PTR(&machine_uart_last_rx_us_obj) }, \
    { MP_ROM_QSTR(MP_QSTR_errors), MP_ROM_PTR(&machine_uart_errors_obj) },
