"""A client for Modbus RTU without I/O (Modbus over Serial Line V1.02, section 2.5).

The answer may stand anywhere in what comes: behind noise, behind the frame of another unit, behind
an answer that is late. It is known by unit, function, number of data bytes and CRC.
"""

from typing import Final

from protocols.modbus_client.client import Unexpected
from protocols.modbus_client.line import LineClient
from protocols.modbus_client.request import (
    READ_FUNCTIONS,
    REPEATED,
    VARIABLE,
    AnswerShape,
    Request,
    asked_for,
)
from protocols.wire.crc import crc16
from protocols.wire.modbus.adu import MAX_FRAME, answer_length

MAX_BUFFER: Final = 2 * MAX_FRAME  # kept while an answer is due: it, and one frame before it
_SHORTEST: Final = 5  # address, function, one byte, CRC: an exception
_READ: Final = REPEATED + 2  # a read request: address, function, address, quantity, CRC


class RtuClient(LineClient):
    """The client for RTU frames (:class:`.client.ModbusClient`).

    Memory is ``MAX_BUFFER`` bytes, whatever comes.
    """

    def __init__(self) -> None:
        super().__init__(MAX_BUFFER)
        self._damaged: set[int] = set()  # where in the buffer a whole frame has a wrong CRC

    def send(self, request: Request) -> bytes:
        """See :class:`.client.ModbusClient`. What came before is forgotten."""
        self._damaged.clear()
        return super().send(request)

    def _cap(self) -> int:
        over = super()._cap()
        if over:
            self._damaged = {at - over for at in self._damaged if at >= over}
        return over

    def _frame(self, request: Request) -> bytes:
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
        found = self._find(request.header, echo) or self._find(request.refusal, echo)
        if found is not None and found[0] >= _READ and self._is_contested(request, found[0]):
            found = None  # it may be the answer to the other master
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

    def _find(self, header: bytes, echo: bytes) -> tuple[int, int] | None:
        """Return where a valid frame with this header stands that is no echo, and its length.

        A frame that is damaged stays so: noise full of headers has each checked once.
        """
        buffer, damaged = self._buffer, self._damaged
        at = buffer.find(header)
        while at >= 0:
            if at not in damaged:
                frame = buffer[at : at + MAX_FRAME] if at else buffer
                length = answer_length(frame, len(frame))
                if length > MAX_FRAME or (length and crc16(frame, length)):
                    damaged.add(at)
                elif length and not (length == len(echo) and buffer.startswith(echo, at)):
                    return at, length
            at = buffer.find(header, at + 1)
        return None

    def _is_contested(self, request: Request, end: int) -> bool:
        """Return whether another master's request for a like answer stands before ``end``."""
        buffer = self._buffer
        return any(
            buffer[at] == request.asked
            and not buffer.startswith(request.adu, at)
            and _asked_at(buffer, at) == request.shape._replace(unit=request.asked)
            for at in range(end - _READ + 1)
        )

    def finish(self) -> Unexpected:
        """See :class:`.client.ModbusClient`."""
        self._sort(self._request, waiting=self._request is not None)
        self._request = None
        return self.unexpected

    def _sort(self, request: Request | None, waiting: bool) -> None:
        """Sort the buffer into foreign frames, the request's own echo, requests, and noise."""
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
            other = _asked_at(buffer, at)
            if other is not None:
                unexpected.others.append(other)
                unexpected.noise_bytes += _READ
                at += _READ
                continue
            if waiting and request is not None and buffer.startswith(request.header, at):
                unexpected.damaged += 1
            unexpected.noise_bytes += 1
            at += 1
        buffer.clear()


def _asked_at(buffer: bytearray, at: int) -> AnswerShape | None:
    """Return what the valid read request at ``at`` asks for; None if there is none."""
    frame = buffer[at : at + _READ]
    shape = asked_for(frame) if len(frame) == _READ else None
    return shape if shape is not None and crc16(frame, _READ) == 0 else None


def _frame_length(buffer: bytearray, at: int) -> int:
    """Return the length of the valid answer that begins at ``at``; 0 if there is none."""
    frame = buffer[at : at + MAX_FRAME] if at else buffer
    length = answer_length(frame, len(frame))
    return length if 0 < length <= MAX_FRAME and crc16(frame, length) == 0 else 0
