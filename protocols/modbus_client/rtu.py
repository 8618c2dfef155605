"""A client for Modbus RTU without I/O (Modbus over Serial Line V1.02, section 2.5).

The answer may stand anywhere in what comes: behind noise, behind the frame of another unit, behind
an answer that is late. It is known by unit, function, number of data bytes and CRC.
"""

from typing import Final

from protocols.modbus_client.client import Unexpected
from protocols.modbus_client.request import READ_FUNCTIONS, VARIABLE, AnswerShape, Request
from protocols.wire.crc import crc16
from protocols.wire.modbus.adu import MAX_FRAME, answer_length

MAX_BUFFER: Final = 2 * MAX_FRAME  # kept while an answer is due: it, and one frame before it
_SHORTEST: Final = 5  # address, function, one byte, CRC: an exception


class RtuClient:
    """The client for RTU frames (:class:`.client.ModbusClient`).

    Memory is ``MAX_BUFFER`` bytes, whatever comes.
    """

    def __init__(self) -> None:
        self.unexpected = Unexpected()
        self._buffer = bytearray()
        self._request: Request | None = None  # None: IDLE

    def send(self, request: Request) -> bytes:
        """See :class:`.client.ModbusClient`. What came before is forgotten."""
        self.unexpected = Unexpected()
        self._buffer = bytearray()
        self._request = request
        return request.adu

    def feed(self, data: bytes) -> bytes | None:
        """See :class:`.client.ModbusClient`."""
        buffer = self._buffer
        buffer += data
        request = self._request
        if request is None or len(buffer) < _SHORTEST:
            self._cap()
            return None
        # An adapter may return what was sent, which can look like an answer with coils.
        echo = b"" if request.read is None else request.adu
        found = _find(buffer, request.header, echo) or _find(buffer, request.refusal, echo)
        if found is None:
            self._cap()
            return None
        at, length = found
        pdu = bytes(buffer[at + 1 : at + length - 2])
        self._request = None
        # Most answers come alone; only what stands around one has to be sorted.
        del buffer[at : at + length]
        if buffer:
            self._sort(request, waiting=False)
        return pdu

    def finish(self) -> Unexpected:
        """See :class:`.client.ModbusClient`."""
        self._sort(self._request, waiting=self._request is not None)
        self._request = None
        return self.unexpected

    def _cap(self) -> None:
        over = len(self._buffer) - MAX_BUFFER
        if over > 0:
            del self._buffer[:over]
            self.unexpected.noise_bytes += over

    def _sort(self, request: Request | None, waiting: bool) -> None:
        """Sort the buffer into foreign frames, the request's own echo, and noise."""
        buffer = self._buffer
        unexpected = self.unexpected
        at = 0
        while at < len(buffer):
            if request is not None and buffer.startswith(request.adu, at):
                at += len(request.adu)  # adapters without echo suppression return what was sent
                continue
            length = _frame_length(buffer, at)
            if length:
                # Exceptions and answers of variable length do not differ by their length.
                function = buffer[at + 1]
                data = buffer[at + 2] if function in READ_FUNCTIONS else VARIABLE
                unexpected.foreign.append(AnswerShape(buffer[at], function, data))
                at += length
                continue
            if waiting and request is not None and buffer.startswith(request.header, at):
                unexpected.damaged += 1
            unexpected.noise_bytes += 1
            at += 1
        buffer.clear()


def _find(buffer: bytearray, header: bytes, echo: bytes) -> tuple[int, int] | None:
    """Return where a valid frame with this header stands that is no echo, and its length."""
    at = buffer.find(header)
    while at >= 0:
        length = _frame_length(buffer, at)
        if length and not (length == len(echo) and buffer.startswith(echo, at)):
            return at, length
        at = buffer.find(header, at + 1)
    return None


def _frame_length(buffer: bytearray, at: int) -> int:
    """Return the length of the valid answer that begins at ``at``; 0 if there is none."""
    frame = buffer[at : at + MAX_FRAME] if at else buffer
    length = answer_length(frame, len(frame))
    return length if 0 < length <= MAX_FRAME and crc16(frame, length) == 0 else 0
