"""A Modbus RTU server without I/O (Modbus over Serial Line V1.02, section 2.5).

Bytes and the time of their arrival go in, answers come out; UART and clock belong to the caller,
who asks :meth:`RtuServer.poll` and, if nothing is complete, comes back after
:meth:`RtuServer.wait_us`.

A frame ends with t3.5 of silence; a gap over t1.5 inside a frame spoils it. Up to 19200 baud a
character is 11 bits long, above the times are fixed at 750 and 1750 us (section 2.5.1.1).

``strict`` says what the line can tell. With it, ``now_us`` is the moment the last byte of the
data ended, bytes given together followed each other without a gap, and both times are enforced.
Without it (a pseudo terminal, an operating system between line and program) gaps inside a frame
mean nothing, and frames that arrive together, because nobody read in between, are told apart by
their lengths and CRCs: requests to other servers, their answers, and last the request to us.
There is no search for a frame inside noise, whose last bytes might be another server's data.

What is never answered: other addresses, broadcasts (writes among them are executed), a wrong CRC,
a request after which somebody else spoke, and what can only be an answer (another node with our
address). The line must not echo: an echoed FC 06 is not told from a request.

Memory is two buffers of 256 bytes, whatever comes in. ``feed``, ``poll`` and ``wait_us`` allocate
nothing on MicroPython.
"""

from micropython import const

from . import pdu
from .adu import answer_length, request_length
from .crc import TABLE, crc16
from .errors import BAD_VALUE, LocalError

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from .ports import Bank, TicksDiff

ILLEGAL_FUNCTION = pdu.ILLEGAL_FUNCTION
ILLEGAL_ADDRESS = pdu.ILLEGAL_ADDRESS
ILLEGAL_VALUE = pdu.ILLEGAL_VALUE
DEVICE_FAILURE = pdu.DEVICE_FAILURE
BUSY = pdu.BUSY

NEED_DATA = 0  # nothing complete yet
SILENT = -1  # something was consumed that gets no answer

_MAX_FRAME = const(256)
_MIN_FRAME = const(4)
_CRC_INIT = const(0xFFFF)
_NOBODY = const(-1)
_WRITE_ONE = const(0x06)
_WRITE_MANY = const(0x10)

_FIXED_ABOVE_BAUD = const(19200)
_T15_FIXED_US = const(750)
_T35_FIXED_US = const(1750)
_CHAR_BITS_US = const(11_000_000)  # 11 bits, in bit times of 1 us


def _difference(a: int, b: int) -> int:
    return a - b


class RtuServer:
    """One server on one line.

    ``unit_id`` is 1 to 247, ``baud`` 300 to 1,000,000 (LocalError otherwise); ``bank`` and
    ``identity`` are those of :class:`.pdu.PduServer`. ``ticks_diff(a, b)`` gives a - b across the
    wrap of the caller's microseconds; without it they do not wrap. The answer stands in ``tx``.
    """

    def __init__(
        self,
        unit_id: int,
        bank: "Bank",
        identity: "dict[int, bytes]",
        baud: int = 9600,
        strict: bool = True,
        ticks_diff: "TicksDiff | None" = None,
    ) -> None:
        if not 1 <= unit_id <= 247:
            raise LocalError(BAD_VALUE, "Modbus address", -1, "1 to 247", unit_id)
        if not 300 <= baud <= 1_000_000:
            raise LocalError(BAD_VALUE, "line speed", -1, "300 to 1000000", baud)
        self.unit_id = unit_id
        self.tx = bytearray(_MAX_FRAME)
        self.counters = pdu.Counters()
        self._pdu = pdu.PduServer(bank, identity, self.counters)
        self._strict = strict
        self._diff = ticks_diff or _difference
        self._char_us = _CHAR_BITS_US // baud
        if baud > _FIXED_ABOVE_BAUD:
            self._t15_us = _T15_FIXED_US
            self._t35_us = _T35_FIXED_US
        else:  # rounded up: never shorter than the specification's
            self._t15_us = -(-3 * _CHAR_BITS_US // (2 * baud))
            self._t35_us = -(-7 * _CHAR_BITS_US // (2 * baud))
        self._rx = bytearray(_MAX_FRAME)
        self._fill = 0
        self._crc = _CRC_INIT  # over everything since the last silence, kept or not
        self._spoiled = False  # gap over t1.5 or too long: ignored up to the next silence
        self._last_us = 0
        self._consumed = False  # something ended inside feed; poll has yet to say SILENT
        self._half = False  # the last fragment may be the first half of a torn frame
        self._asked = _NOBODY  # another server whose answer is due, and to which function
        self._asked_function = 0

    def feed(self, data: bytes | bytearray | memoryview, length: int, now_us: int) -> None:
        """Take ``data[:length]``, whose last byte arrived at ``now_us``.

        LocalError if ``data`` has fewer bytes. If silence since the last call ended a frame that
        :meth:`poll` was not asked about, that frame is dealt with first, without an answer: the
        master has given up on it.
        """
        if not 0 <= length <= len(data):
            raise LocalError(BAD_VALUE, "length", -1, len(data), length)
        if length == 0:
            return
        if self._fill:
            gap = self._diff(now_us, self._last_us)
            if self._strict:
                gap -= length * self._char_us
            if gap >= self._t35_us:
                self._end_of_frame(False)
                self._consumed = True
            elif self._strict and gap > self._t15_us:
                self._spoiled = True
        self._last_us = now_us
        self._take(data, length)

    def _take(self, data: bytes | bytearray | memoryview, length: int) -> None:
        table = TABLE
        rx = self._rx
        fill = self._fill
        crc = self._crc
        for index in range(length):
            if fill == _MAX_FRAME and not self._spoiled:
                self._fill = fill
                self._make_room()
                fill = self._fill
                crc = self._crc if fill < _MAX_FRAME else crc
            byte = data[index]
            crc = (crc >> 8) ^ table[(crc ^ byte) & 0xFF]
            if fill < _MAX_FRAME:
                rx[fill] = byte
                fill += 1
        self._fill = fill
        self._crc = crc

    def poll(self, now_us: int) -> int:
        """NEED_DATA, SILENT, or n > 0: send ``tx[:n]`` now, before the next call."""
        if self._fill and self._diff(now_us, self._last_us) >= self._t35_us:
            self._consumed = False
            return self._end_of_frame(True)
        if self._consumed:
            self._consumed = False
            return SILENT
        return NEED_DATA

    def wait_us(self, now_us: int) -> int:
        """Microseconds until :meth:`poll` can say more without new bytes; -1: never."""
        if self._consumed:
            return 0
        if not self._fill:
            return -1
        return max(0, self._t35_us - self._diff(now_us, self._last_us))

    # --- frames -----------------------------------------------------------------------------

    def _end_of_frame(self, answer: bool) -> int:
        fill = self._fill
        crc = self._crc
        spoiled = self._spoiled
        self._fill = 0
        self._crc = _CRC_INIT
        self._spoiled = False
        if crc == 0 and fill >= _MIN_FRAME and not spoiled:
            return self._frame(fill, answer)
        if not self._strict and not spoiled:
            return self._frames(fill, answer)
        self._fragment(crc)
        return SILENT

    def _fragment(self, crc: int) -> None:
        # A frame that follows is valid both by itself and as the second half of this fragment if,
        # and only if, the CRC stands here where it starts. Once in 65536 that is chance.
        self.counters.bus_error += 1
        self._half = crc == _CRC_INIT

    def _frames(self, fill: int, answer: bool) -> int:
        """Several frames read at once; only the last of them can still be answered."""
        result = SILENT
        while fill:
            length = self._first_length(fill)
            if length == 0:
                self._fragment(crc16(self._rx, fill))
                return SILENT
            result = self._frame(length, answer and length == fill)
            fill = self._drop(length, fill)
        return result

    def _make_room(self) -> None:
        """The buffer is full: drop the frame it begins with, or spoil what is coming in."""
        if not self._strict:
            length = self._first_length(_MAX_FRAME)
            if length:
                self._frame(length, False)
                self._fill = self._drop(length, _MAX_FRAME)
                self._crc = crc16(self._rx, self._fill)
                self._consumed = True
                return
        self._spoiled = True

    def _drop(self, length: int, fill: int) -> int:
        rx = self._rx
        for index in range(length, fill):
            rx[index - length] = rx[index]
        return fill - length

    def _first_length(self, fill: int) -> int:
        """Length of the valid frame at the start of the buffer; 0 if there is none.

        Bytes that both an answer and a request could begin with are taken for what is due. So
        another server's data cannot be made to look like the next frame.
        """
        rx = self._rx
        if fill < _MIN_FRAME:
            return 0
        due = request_length(rx, fill)
        other = answer_length(rx, fill)
        if self._asked == rx[0] and self._asked_function == rx[1] & 0x7F:
            due, other = other, due
        if due and crc16(rx, due) == 0:
            return due
        if other and crc16(rx, other) == 0:
            return other
        return fill if crc16(rx, fill) == 0 else 0

    def _frame(self, length: int, answer: bool) -> int:
        """Deal with the valid frame ``rx[:length]``."""
        if self._half:
            self._half = False
            self.counters.bus_error += 1
            return SILENT
        rx = self._rx
        unit_id = rx[0]
        counters = self.counters
        counters.bus_message += 1
        if unit_id != self.unit_id:
            if unit_id == 0:
                self._broadcast(length)
            else:
                self._other(unit_id, rx[1])
            return SILENT
        self._asked = _NOBODY
        if not self._is_request(length):
            return SILENT
        counters.server_message += 1
        if not answer:
            counters.server_no_response += 1
            return SILENT
        tx = self.tx
        end = self._pdu.execute(rx, length, tx)
        crc = crc16(tx, end)
        tx[end] = crc & 0xFF
        tx[end + 1] = crc >> 8
        return end + 2

    def _is_request(self, length: int) -> bool:
        rx = self._rx
        request = request_length(rx, length)
        if request == length:
            return True
        if rx[1] >= 0x80 or answer_length(rx, length) == length:
            return False
        if request and crc16(rx, request) == 0:
            # A transmitter that lets go of the line may add a zero byte, which no CRC notices.
            # Asking for a repetition, by silence, beats answering that the request is wrong.
            self.counters.bus_error += 1
            return False
        return True

    def _broadcast(self, length: int) -> None:
        self._asked = _NOBODY
        self.counters.server_message += 1
        self.counters.server_no_response += 1
        function = self._rx[1]
        if function in (_WRITE_ONE, _WRITE_MANY):
            self._pdu.execute(self._rx, length, self.tx)

    def _other(self, unit_id: int, function: int) -> None:
        if self._asked == unit_id and self._asked_function == function & 0x7F:
            self._asked = _NOBODY  # that was the answer
        else:
            self._asked = unit_id
            self._asked_function = function
