"""The messages between the bench and a UART on Renode (``hil/renode/models/LinePort.cs``).

A stream in each direction over a Unix socket. Each message is a head of three bytes (kind, length
of the body, little endian) and a body; all numbers are unsigned and little endian, all times are
microseconds of the emulation's virtual time.

| kind | way | body |
|---|---|---|
| 01 | to the port | :class:`TimedPiece`: number u32, due u64, gap u32, n offsets u32, n bytes |
| 02 | to the port | :class:`Retract`: from u64 |
| 03 | to the port | :class:`Ticks`: every u32 |
| 11 | to the bench | :class:`Sent`: first u64, last u64, n bytes |
| 12 | to the bench | :class:`Delivered`: number u32, begin u64, end u64, count u16 |
| 13 | to the bench | :class:`Now`: now u64 |

Sans-IO: bytes in, messages out. What is no message raises WireError, and costs no more memory than
one body of ``MAX_BODY`` bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from hil.errors import WireError

#: Of one piece: the longest frame of a line. Longer writes are several pieces.
MAX_PIECE: Final = 256
#: Of one message of either side, without its head.
MAX_BODY: Final = 4096
_HEAD: Final = struct.Struct("<BH")
_PIECE: Final = struct.Struct("<IQI")
_RETRACT: Final = struct.Struct("<Q")
_TICKS: Final = struct.Struct("<I")
_SENT: Final = struct.Struct("<QQ")
_DELIVERED: Final = struct.Struct("<IQQH")


@dataclass(frozen=True, slots=True)
class TimedPiece:
    """Bytes for the node. Byte ``i`` is received ``offsets[i]`` us after the piece begins.

    It begins at ``due_us`` or, if that has passed, at once; 0 is at once. A piece that was late
    delays the next one: the pause between them stays as planned, or ``gap_us`` if that is less.
    """

    number: int
    due_us: int
    gap_us: int
    offsets_us: Sequence[int]
    data: bytes


@dataclass(frozen=True, slots=True)
class Retract:
    """Drop the bytes that are due at ``from_us`` or later and have not reached the node.

    0 drops everything, and what the node sent before and the port has not passed on.
    """

    from_us: int = 0


@dataclass(frozen=True, slots=True)
class Ticks:
    """Send a :class:`Now` after ``every_us`` of virtual time, again and again; 0: no more."""

    every_us: int


@dataclass(frozen=True, slots=True)
class Sent:
    """Bytes that the node sent; ``first_us`` and ``last_us`` are those of the first and the last
    one. A message of many bytes may be one of several with the same times.
    """

    first_us: int
    last_us: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Delivered:
    """A piece is done: ``count`` of its bytes reached the UART, from ``begin_us`` to ``end_us``."""

    number: int
    begin_us: int
    end_us: int
    count: int


@dataclass(frozen=True, slots=True)
class Now:
    """The virtual time; everything that the node sent before was passed on before."""

    now_us: int


ToPort = TimedPiece | Retract | Ticks
ToBench = Sent | Delivered | Now
Message = ToPort | ToBench


def encode(message: Message) -> bytes:
    """Return a message as bytes. WireError for a piece that is empty or too long."""
    match message:
        case TimedPiece(number, due_us, gap_us, offsets, data):
            if not 0 < len(data) <= MAX_PIECE or len(offsets) != len(data):
                raise WireError(
                    f"a piece: expected 1 to {MAX_PIECE} bytes with an offset for each, got "
                    f"{len(data)} bytes and {len(offsets)} offsets"
                )
            spacing = struct.pack(f"<{len(offsets)}I", *offsets)
            return _message(1, _PIECE.pack(number, due_us, gap_us) + spacing + data)
        case Retract(from_us):
            return _message(2, _RETRACT.pack(from_us))
        case Ticks(every_us):
            return _message(3, _TICKS.pack(every_us))
        case Sent(first_us, last_us, data):
            return _message(0x11, _SENT.pack(first_us, last_us) + data)
        case Delivered(number, begin_us, end_us, count):
            return _message(0x12, _DELIVERED.pack(number, begin_us, end_us, count))
        case Now(now_us):
            return _message(0x13, _RETRACT.pack(now_us))


def _message(kind: int, body: bytes) -> bytes:
    return _HEAD.pack(kind, len(body)) + body


class Decoder:
    """Bytes of the stream in, messages out; one for each direction."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """Take bytes; return the messages that are complete now. WireError: close the stream."""
        self._buffer += data
        while len(self._buffer) >= _HEAD.size:
            kind, length = _HEAD.unpack_from(self._buffer)
            if length > MAX_BODY:
                raise WireError(f"a body of at most {MAX_BODY} bytes expected, got {length}")
            end = _HEAD.size + length
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[_HEAD.size : end])
            del self._buffer[:end]
            try:
                yield _decode(kind, body)
            except struct.error as error:
                raise WireError(f"message {kind:#04x} of {length} bytes: {error}") from None


def _decode(kind: int, body: bytes) -> Message:
    match kind:
        case 1:
            count, rest = divmod(len(body) - _PIECE.size, 5)
            if count < 1 or rest:
                raise WireError(f"a piece of {len(body)} bytes: expected 5 for each byte it has")
            offsets = struct.unpack_from(f"<{count}I", body, _PIECE.size)
            number, due_us, gap_us = _PIECE.unpack_from(body)
            return TimedPiece(number, due_us, gap_us, offsets, body[-count:])
        case 2:
            return Retract(*_RETRACT.unpack(body))
        case 3:
            return Ticks(*_TICKS.unpack(body))
        case 0x11:
            first_us, last_us = _SENT.unpack_from(body)
            return Sent(first_us, last_us, body[_SENT.size :])
        case 0x12:
            return Delivered(*_DELIVERED.unpack(body))
        case 0x13:
            return Now(*_RETRACT.unpack(body))
        case _:
            raise WireError(f"message {kind:#04x} of {len(body)} bytes: no such kind")
