"""A client for Modbus ASCII without I/O (Modbus over Serial Line V1.02, section 2.5.2).

A frame is a line of text: a colon, two hex digits for each byte, carriage return and line feed. Its
last byte makes the sum of all bytes a multiple of 256 (LRC). A colon always begins a new frame.
"""

import binascii
from typing import Final

from protocols.modbus_client.client import Unexpected
from protocols.modbus_client.line import LineClient
from protocols.modbus_client.request import (
    FIXED,
    READ_FUNCTIONS,
    REPEATED,
    VARIABLE,
    AnswerShape,
    Request,
    asked_for,
)

MAX_LINE: Final = 513  # Modbus over Serial Line V1.02, 2.5.2.1: the longest frame, in characters
MAX_BUFFER: Final = 2 * MAX_LINE
_CRC_BYTES: Final = 2
_SHORTEST: Final = 3  # address, function, one byte
_COILS: Final = REPEATED - _SHORTEST  # bytes of data in an answer as long as a read request


def encode_line(frame: bytes) -> bytes:
    """Return address and PDU as a frame, with its LRC."""
    lrc = -sum(frame) & 0xFF
    return b":%s\r\n" % (frame + bytes((lrc,))).hex().upper().encode()


class AsciiClient(LineClient):
    """The client for ASCII frames (:class:`.client.ModbusClient`).

    Memory is ``MAX_BUFFER`` characters, whatever comes.
    """

    def __init__(self) -> None:
        super().__init__(MAX_BUFFER)
        self._is_contested = False  # another master asks for a like answer

    def _frame(self, request: Request) -> bytes:
        self._is_contested = False
        return encode_line(request.adu[:-_CRC_BYTES])

    def feed(self, data: bytes) -> bytes | None:
        """See :class:`.client.ModbusClient`."""
        buffer = self._buffer
        buffer += data
        answer = None
        while (end := buffer.find(b"\n") + 1) > 0:
            line = bytes(buffer[:end])
            del buffer[:end]
            found = self._take(line)
            answer = found if found is not None else answer
        self._cap()
        return answer

    def finish(self) -> Unexpected:
        """See :class:`.client.ModbusClient`. A frame that has begun is cut short."""
        if self._buffer:
            self._spoilt(bytes(self._buffer))
            self._buffer.clear()
        self._request = None
        return self.unexpected

    def _take(self, line: bytes) -> bytes | None:
        """Sort one line; return the PDU if it is the answer."""
        start = line.rfind(b":")
        frame = _decoded(line[start + 1 :]) if start >= 0 else b""
        if not frame:
            self._spoilt(line)
            return None
        self.unexpected.noise_bytes += start
        request = self._request
        if request is not None:
            if frame == request.adu[:-_CRC_BYTES] and request.shape.data_bytes != FIXED:
                return None  # adapters without echo suppression return what was sent
            if _is_answer(frame, request) and not self._is_contested:
                self._request = None
                return frame[1:]
        other = asked_for(frame) if len(frame) == REPEATED and frame[2] != _COILS else None
        if other is not None:
            self.unexpected.others.append(other)
            self.unexpected.noise_bytes += len(line) - start
            like = request.shape._replace(unit=request.asked) if request is not None else None
            self._is_contested = self._is_contested or other == like
            return None
        # Exceptions and answers of variable length do not differ by their length.
        size = len(frame) - _SHORTEST if frame[1] in READ_FUNCTIONS else VARIABLE
        self.unexpected.foreign.append(AnswerShape(frame[0], frame[1], size))
        return None

    def _spoilt(self, line: bytes) -> None:
        self.unexpected.noise_bytes += len(line)
        request = self._request
        if request is not None and b":" + request.header.hex().upper().encode() in line.upper():
            self.unexpected.damaged += 1


def _decoded(text: bytes) -> bytes:
    """Return address and PDU of a line behind its colon; nothing if it is no valid frame."""
    if len(text) >= MAX_LINE or not text.endswith(b"\r\n"):
        return b""
    try:
        frame = binascii.unhexlify(text[:-2])
    except binascii.Error:
        return b""
    return frame[:-1] if len(frame) > _SHORTEST and sum(frame) & 0xFF == 0 else b""


def _is_answer(frame: bytes, request: Request) -> bool:
    if frame.startswith(request.refusal):
        return len(frame) == _SHORTEST
    size = request.shape.data_bytes
    if not frame.startswith(request.header):
        return False
    if size == FIXED:
        return len(frame) == len(request.header)
    return size == VARIABLE or len(frame) == _SHORTEST + size
