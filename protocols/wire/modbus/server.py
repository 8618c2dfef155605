"""A Modbus RTU server without I/O (Modbus over Serial Line V1.02, section 2.5).

Bytes and the time of their arrival go in, answers come out. UART and clock belong to the caller:
it gives what came to :meth:`RtuServer.feed`, asks :meth:`RtuServer.poll` when nothing came, and
sleeps for :meth:`RtuServer.wait_us`, the time until the silence on the line ends a frame.

The receiver has three states::

    state      | bytes                      | silence of t3.5 (poll, or before the next bytes)
    -----------+----------------------------+-------------------------------------------------
    IDLE       | RECEIVING                  | -
    RECEIVING  | RECEIVING                  | IDLE: a frame is dealt with, or a fragment dropped
               | SPOILED, if after t1.5     |
               | SPOILED, if over 256 bytes |
    SPOILED    | SPOILED                    | IDLE: a fragment is dropped

What is due on the line tells frames apart that look alike::

    due          | valid frame of another unit | valid frame for us | fragment
    -------------+-----------------------------+--------------------+------------------------------
    REQUEST      | its answer                  | REQUEST            | REQUEST, or SECOND HALF
    an answer    | REQUEST if it is the answer | REQUEST            | the same, or SECOND HALF
                 | else the new one's answer   |                    |
    SECOND HALF  | REQUEST; the frame is       | REQUEST; dropped   | REQUEST, or SECOND HALF
                 | dropped                     | too                |

A valid frame behind a fragment may be the second half of a torn frame. It is if the CRC of the
fragment stands where a CRC begins; once in 65536 that is chance.

``strict`` is for a line whose gaps can be seen. With it ``now_us`` is the moment the last byte of
the data ended, bytes given together followed each other without a gap, and t1.5 and t3.5 are both
enforced. Without it (a pseudo terminal, an operating system or a driver's buffer between line and
program) a pause between two feeds means nothing and only a poll, made when there was nothing to
read, ends a frame. Frames that were read together are told apart by their lengths and CRCs:
requests to other servers, their answers, and last the request to us. There is no search for a frame
inside noise, whose last bytes might be another server's data.

These are never answered: other addresses, broadcasts (writes among them are executed), a wrong
CRC, a request that is followed by another frame, what can only be an answer (another node with our
address), and what the bank leaves to another server (``pdu.NO_ANSWER``). The line must not echo: an
echoed FC 06 looks like a request.

Memory is two buffers of 256 bytes, whatever comes in. ``feed``, ``poll`` and ``wait_us`` allocate
nothing on MicroPython.
"""

from micropython import const

from protocols.wire.crc import TABLE, crc16
from protocols.wire.errors import BAD_VALUE, LocalError

from .adu import MAX_FRAME, answer_length, request_length
from .pdu import EXCEPTION, LineCounters, PduServer
from .timing import chars_us, t15_us, t35_us

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from protocols.wire.ports import Bank, TicksDiff

# What poll returns beside the length of an answer.
NEED_DATA = 0  # nothing complete yet
SILENT = -1  # something was consumed that gets no answer

_MIN_FRAME = const(4)
_CRC_INIT = const(0xFFFF)

# States of the receiver.
_IDLE = const(0)
_RECEIVING = const(1)
_SPOILED = const(2)

# What is due on the line; 0 or more: the answer of unit ``due >> 8`` to function ``due & 0xFF``.
_REQUEST = const(-1)
_SECOND_HALF = const(-2)


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
        self.tune(unit_id, baud)
        self.tx = bytearray(MAX_FRAME)
        self.counters = LineCounters()
        self._pdu = PduServer(bank, identity, self.counters)
        self._strict = strict
        self._diff = ticks_diff or _difference
        self._rx = bytearray(MAX_FRAME)
        self._state = _IDLE
        self._due = _REQUEST
        self._fill = 0
        self._crc = _CRC_INIT  # over everything since the last silence, kept or not
        self._last_us = 0
        self._result = NEED_DATA  # SILENT: feed dealt with a frame, and poll has not returned it

    def tune(self, unit_id: int, baud: int) -> None:
        """Serve another address at another speed from now on. LocalError as for the class."""
        if not 1 <= unit_id <= 247:
            raise LocalError(BAD_VALUE, "unit id", -1, "1 to 247", unit_id)
        if not 300 <= baud <= 1_000_000:
            raise LocalError(BAD_VALUE, "baud", -1, "300 to 1000000", baud)
        self.unit_id = unit_id
        self._char_us = chars_us(baud)
        self._t15_us = t15_us(baud)
        self._t35_us = t35_us(baud)

    def feed(self, data: bytes | bytearray | memoryview, length: int, now_us: int) -> None:
        """Take ``data[:length]``, whose last byte arrived at ``now_us``.

        LocalError if ``data`` has fewer bytes. If a silence since the last call (``strict``) ended
        a frame that :meth:`poll` was not asked about, that frame is dealt with first, without an
        answer: the master has given up on it.
        """
        if not 0 <= length <= len(data):
            raise LocalError(BAD_VALUE, "length", -1, len(data), length)
        if length == 0:
            return
        if self._strict and self._state:
            gap = self._diff(now_us, self._last_us) - length * self._char_us
            if gap >= self._t35_us:
                self._end_of_frame(False)
                self._result = SILENT
            elif gap > self._t15_us:
                self._state = _SPOILED
        if not self._state:
            self._state = _RECEIVING
        self._last_us = now_us
        table = TABLE
        rx = self._rx
        size = len(rx)
        fill = self._fill
        crc = self._crc
        for index in range(length):
            if fill == size and self._state == _RECEIVING:
                self._make_room()
                fill = self._fill
                crc = self._crc if fill < size else crc
            byte = data[index]
            crc = (crc >> 8) ^ table[(crc ^ byte) & 0xFF]
            if fill < size:
                rx[fill] = byte
                fill += 1
        self._fill = fill
        self._crc = crc

    def poll(self, now_us: int) -> int:
        """Return NEED_DATA, SILENT, or n > 0: send ``tx[:n]`` now, before the next call.

        Without ``strict``, ``now_us`` is a moment before the look that found nothing to read.
        """
        result = self._result
        self._result = NEED_DATA
        if self._state and self._diff(now_us, self._last_us) >= self._t35_us:
            return self._end_of_frame(True)
        return result

    def wait_us(self, now_us: int) -> int:
        """Return the microseconds until :meth:`poll` has more, without new bytes; -1: never."""
        if self._result:
            return 0
        if not self._state:
            return -1
        return max(0, self._t35_us - self._diff(now_us, self._last_us))

    # --- frames -----------------------------------------------------------------------------

    def _end_of_frame(self, answer: bool) -> int:
        fill = self._fill
        crc = self._crc
        received = self._state == _RECEIVING
        self._fill = 0
        self._crc = _CRC_INIT
        self._state = _IDLE
        if received:
            if crc == 0 and fill >= _MIN_FRAME:
                return self._frame(fill, answer)
            if not self._strict:
                return self._frames(fill, answer)
        self._fragment(crc)
        return SILENT

    def _fragment(self, crc: int) -> None:
        self.counters.bus_error += 1
        if crc == _CRC_INIT:
            self._due = _SECOND_HALF
        elif self._due == _SECOND_HALF:
            self._due = _REQUEST

    def _frames(self, fill: int, answer: bool) -> int:
        """Deal with several frames read at once; only the last of them can still be answered."""
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
        """Drop the frame that a full buffer begins with, or spoil what is coming in."""
        fill = len(self._rx)
        length = 0 if self._strict else self._first_length(fill)
        if length:
            self._frame(length, False)
            fill = self._drop(length, fill)
            self._crc = crc16(self._rx, fill)
            self._result = SILENT
        else:
            self._state = _SPOILED
        self._fill = fill

    def _drop(self, length: int, fill: int) -> int:
        rx = self._rx
        for index in range(length, fill):
            rx[index - length] = rx[index]
        return fill - length

    def _first_length(self, fill: int) -> int:
        """Return the length of the valid frame at the start of the buffer; 0 if there is none.

        Bytes that both an answer and a request could begin with are taken for what is due. So
        another server's data cannot be made to look like the next frame.
        """
        rx = self._rx
        if fill < _MIN_FRAME:
            return 0
        due = request_length(rx, fill)
        other = answer_length(rx, fill)
        if self._due == rx[0] << 8 | rx[1] & 0x7F:
            due, other = other, due
        if due and crc16(rx, due) == 0:
            return due
        if other and crc16(rx, other) == 0:
            return other
        return fill if crc16(rx, fill) == 0 else 0

    def _frame(self, length: int, answer: bool) -> int:
        """Deal with the valid frame ``rx[:length]``."""
        counters = self.counters
        due = self._due
        self._due = _REQUEST
        if due == _SECOND_HALF:
            counters.bus_error += 1
            return SILENT
        rx = self._rx
        unit_id = rx[0]
        counters.bus_message += 1
        if unit_id == 0:
            self._pdu.broadcast(rx, length, self.tx)
            return SILENT
        if unit_id != self.unit_id:
            if due != unit_id << 8 | rx[1] & 0x7F:
                self._due = unit_id << 8 | rx[1]
            return SILENT
        if not self._is_request(length):
            return SILENT
        counters.server_message += 1
        if not answer:
            counters.server_no_response += 1
            return SILENT
        tx = self.tx
        end = self._pdu.execute(rx, length, tx)
        if not end:
            return SILENT
        crc = crc16(tx, end)
        tx[end] = crc & 0xFF
        tx[end + 1] = crc >> 8
        return end + 2

    def _is_request(self, length: int) -> bool:
        rx = self._rx
        request = request_length(rx, length)
        if request == length:
            return True
        if rx[1] >= EXCEPTION or answer_length(rx, length) == length:
            return False
        if request and crc16(rx, request) == 0:
            # A transmitter that lets go of the line may add a zero byte, which no CRC notices.
            # Asking for a repetition, by silence, beats answering that the request is wrong.
            self.counters.bus_error += 1
            return False
        return True
