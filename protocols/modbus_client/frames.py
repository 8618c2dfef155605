"""What stands in the frames of a Modbus RTU line, for whoever listens without taking part.

Frames that ran together are told apart by their lengths (:mod:`protocols.wire.modbus.adu`) and
CRCs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from protocols.modbus_client.names import EXCEPTION_NAMES, FUNCTION_NAMES
from protocols.wire.crc import crc16
from protocols.wire.modbus.adu import MAX_FRAME, answer_length, request_length
from protocols.wire.modbus.pdu import (
    EXCEPTION,
    READ_HOLDING,
    READ_INPUT,
    READ_WRITE,
    WRITE_MANY,
    WRITE_ONE,
)

SHORTEST_FRAME: Final = 4  # unit, function, CRC
_SHOWN: Final = 8  # values that a description has
_REGISTER_ANSWERS: Final = (READ_HOLDING, READ_INPUT, READ_WRITE)
_WRITES_ONE: Final = (0x05, WRITE_ONE)  # a coil, a register
_WRITES_MANY: Final = (0x0F, WRITE_MANY)
#: Requests that begin with an address and a count; 01 and 02 read coils and discrete inputs.
_ADDRESSED: Final = (0x01, 0x02, *_REGISTER_ANSWERS, *_WRITES_MANY)


@dataclass(frozen=True, slots=True)
class FrameContent:
    """What a frame asks or answers; what it does not have is None.

    ``address`` and ``count`` are those of a request (or an answer that repeats them), ``values``
    the registers of an answer, or those a request writes.
    """

    unit: int
    function: int
    address: int | None = None
    count: int | None = None
    values: tuple[int, ...] | None = None
    exception: str | None = None

    @property
    def name(self) -> str:
        """What people call the function."""
        return FUNCTION_NAMES.get(self.function, f"function {self.function:#04x}")

    def describe(self) -> str:
        """Return unit, function and registers in words."""
        words = [f"unit {self.unit}", self.name]
        if self.exception is not None:
            words.append(f"exception: {self.exception}")
        elif self.address is not None:
            last = self.address + (self.count or 1) - 1
            words.append(str(self.address) if last == self.address else f"{self.address}..{last}")
        if self.values is not None:
            shown = " ".join(str(value) for value in self.values[:_SHOWN])
            words.append(f"= {shown}{' ...' if len(self.values) > _SHOWN else ''}")
        return " ".join(words)


def content_of(data: bytes, is_request: bool) -> FrameContent:
    """Return what a whole frame with a right CRC says."""
    function, body = data[1], data[2:-2]
    address = count = None
    values: tuple[int, ...] | None = None
    exception = None
    if not is_request and function & EXCEPTION:
        function &= ~EXCEPTION
        exception = EXCEPTION_NAMES.get(body[0], f"code {body[0]}")
    elif function in _WRITES_ONE and len(body) == 4:
        address, count, values = _word(body, 0), 1, (_word(body, 2),)
    elif (is_request or function in _WRITES_MANY) and function in _ADDRESSED and len(body) >= 4:
        address, count = _word(body, 0), _word(body, 2)
        if function == WRITE_MANY and is_request:
            values = _words(body[5:])
    elif function in _REGISTER_ANSWERS:
        values = _words(body[1:])
    return FrameContent(data[0], function, address, count, values, exception)


def frame_length(data: bytes, is_request: bool) -> int:
    """Return the length of the frame that ``data`` begins with; 0 if it is unknown or not whole."""
    measure = request_length if is_request else answer_length
    return measure(bytearray(data[:MAX_FRAME]), min(len(data), MAX_FRAME))


def split_frames(heard: bytes, is_request: bool) -> Iterator[tuple[bytes, bool]]:
    """Split what was received into frames, each with whether it is valid.

    The bytes between two valid frames are one piece that is not valid.
    """
    if len(heard) >= SHORTEST_FRAME and crc16(heard) == 0:
        length = frame_length(heard, is_request)
        if length in (0, len(heard)):
            yield heard, True
            return
    junk = start = 0
    while start < len(heard):
        length = frame_length(heard[start : start + MAX_FRAME], is_request)
        if not length or crc16(heard[start : start + length]):
            start += 1
            continue
        if start > junk:
            yield heard[junk:start], False
        yield heard[start : start + length], True
        junk = start = start + length
    if start > junk:
        yield heard[junk:start], False


def _word(data: bytes, at: int) -> int:
    return data[at] << 8 | data[at + 1]


def _words(data: bytes) -> tuple[int, ...]:
    return tuple(_word(data, at) for at in range(0, len(data) - 1, 2))
