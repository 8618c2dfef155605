"""The trace as Modbus RTU: frames, and which answer belongs to which request.

Decoded is what was *heard*. Frames that ran together are told apart by their lengths
(:mod:`protocols.wire.modbus.adu`) and CRCs; bytes that are part of no sound frame stay a frame
without a CRC.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from hil.bus.fault import Mark
from hil.bus.trace import NOISE, Burst
from protocols.modbus_client.names import EXCEPTION_NAMES, FUNCTION_NAMES
from protocols.wire.crc import crc16
from protocols.wire.modbus.adu import answer_length, request_length
from protocols.wire.modbus.pdu import (
    EXCEPTION,
    READ_HOLDING,
    READ_INPUT,
    READ_WRITE,
    WRITE_MANY,
    WRITE_ONE,
)

_SMALLEST: Final = 4
_REGISTER_ANSWERS: Final = (READ_HOLDING, READ_INPUT, READ_WRITE)
_WRITES_ONE: Final = (0x05, WRITE_ONE)  # a coil, a register
_WRITES_MANY: Final = (0x0F, WRITE_MANY)
#: Requests that begin with an address and a count; 01 and 02 read coils and discrete inputs.
_ADDRESSED: Final = (0x01, 0x02, *_REGISTER_ANSWERS, *_WRITES_MANY)


class Kind(StrEnum):
    """What a frame is."""

    REQUEST = "request"
    ANSWER = "answer"
    EXCEPTION = "exception"
    DAMAGED = "damaged"  # its CRC is wrong, or it is no frame at all
    UNHEARD = "unheard"  # nobody could hear it


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame on the line. ``gap_us`` is the silence before it, None for the first.

    ``address`` and ``count`` are those of a request (or an answer that repeats them), ``values``
    the registers of an answer, or those a request writes; what a frame does not have is None.
    """

    burst: int
    start_ns: int
    end_ns: int
    gap_us: float | None
    origin: str
    kind: Kind
    data: bytes
    marks: tuple[Mark, ...] = ()
    collided: bool = False
    unit: int | None = None
    function: int | None = None
    address: int | None = None
    count: int | None = None
    values: tuple[int, ...] | None = None
    exception: str | None = None

    @property
    def crc_ok(self) -> bool:
        """Whether it is a whole frame with the right CRC."""
        return self.kind not in (Kind.DAMAGED, Kind.UNHEARD)

    def describe(self) -> str:
        """Unit, function and registers in words."""
        if self.kind is Kind.UNHEARD:
            return "not heard by anybody"
        if self.kind is Kind.DAMAGED:
            return f"{len(self.data)} bytes, no sound frame"
        assert self.function is not None
        words = [
            f"unit {self.unit}",
            FUNCTION_NAMES.get(self.function, f"function {self.function:#04x}"),
        ]
        if self.exception is not None:
            words.append(f"exception: {self.exception}")
        elif self.address is not None:
            last = self.address + (self.count or 1) - 1
            words.append(str(self.address) if last == self.address else f"{self.address}..{last}")
        if self.values is not None:
            shown = " ".join(str(value) for value in self.values[:8])
            words.append(f"= {shown}{' ...' if len(self.values) > 8 else ''}")
        return " ".join(words)

    def to_dict(self) -> dict[str, object]:
        """For JSON; bytes as hex, a field that the frame does not have left out."""
        plain: dict[str, object] = {
            "burst": self.burst,
            "start_ns": self.start_ns,
            "end_ns": self.end_ns,
            "gap_us": self.gap_us,
            "origin": self.origin,
            "kind": str(self.kind),
            "data": self.data.hex(),
            "crc_ok": self.crc_ok,
            "unit": self.unit,
            "function": self.function,
            "name": None if self.function is None else FUNCTION_NAMES.get(self.function),
            "address": self.address,
            "count": self.count,
            "values": None if self.values is None else list(self.values),
            "exception": self.exception,
            "collided": self.collided or None,
            "faults": [str(mark) for mark in self.marks] or None,
        }
        return {key: value for key, value in plain.items() if value is not None}


@dataclass(slots=True)
class Exchange:
    """A request and all that was heard until the next one; ``request`` None: nobody had asked."""

    request: Frame | None
    answers: list[Frame] = field(default_factory=list)

    @property
    def turnaround_us(self) -> float | None:
        """From the request's last byte to the first byte of the first frame after it."""
        if self.request is None or not self.answers:
            return None
        return (self.answers[0].start_ns - self.request.end_ns) / 1000


def frames(bursts: Iterable[Burst], master: str = "gateway") -> Iterator[Frame]:
    """The frames of a trace in the order they began; what ``master`` says are requests."""
    last: int | None = None
    for burst in bursts:
        asks = burst.origin == master
        if not burst.heard:
            gap = None if last is None else (burst.start_ns - last) / 1000
            kind, sent = Kind.UNHEARD, burst.sent
            yield Frame(
                burst.number, burst.start_ns, burst.end_ns, gap, burst.origin, kind, sent,
                burst.marks, burst.collided,
            )  # fmt: skip
            continue
        at = 0
        marks = burst.marks
        for piece, sound in _split(burst.heard, asks):
            start = burst.byte_time(at)
            at += len(piece)
            end = burst.byte_time(at - 1) + burst.byte_ns
            gap = None if last is None else (start - last) / 1000
            last = end
            sound = sound and burst.origin != NOISE
            yield _frame(burst, start, end, gap, piece, sound, asks, marks)
            marks = ()


def exchanges(bursts: Iterable[Burst], master: str = "gateway") -> list[Exchange]:
    """Requests with what was heard after them."""
    found: list[Exchange] = []
    for frame in frames(bursts, master):
        if frame.origin == master:
            found.append(Exchange(frame))
        elif found:
            found[-1].answers.append(frame)
        else:
            found.append(Exchange(None, [frame]))
    return found


def text(bursts: Iterable[Burst], master: str = "gateway") -> str:
    """One line per frame: seconds from the first, silence before it in ms, who, what, faults."""
    lines = []
    first: int | None = None
    for frame in frames(bursts, master):
        first = frame.start_ns if first is None else first
        gap = "" if frame.gap_us is None else f"+{frame.gap_us / 1000:.3f}"
        notes = "".join(f"  [{mark}]" for mark in frame.marks)
        if frame.collided:
            notes += "  [collision]"
        if notes or not frame.crc_ok:
            notes += f"  {frame.data.hex(' ')}"
        lines.append(
            f"{(frame.start_ns - first) / 1e9:12.6f} {gap:>10} {frame.origin:<10} "
            f"{frame.kind:<9} {frame.describe()}{notes}\n"
        )
    return "".join(lines)


def to_json(bursts: Iterable[Burst], master: str = "gateway") -> str:
    """Exchanges as a JSON array of ``{request, answers, turnaround_us}``."""
    return json.dumps(
        [
            {
                "request": None if exchange.request is None else exchange.request.to_dict(),
                "answers": [answer.to_dict() for answer in exchange.answers],
                "turnaround_us": exchange.turnaround_us,
            }
            for exchange in exchanges(bursts, master)
        ],
        indent=1,
    )


def _split(heard: bytes, asks: bool) -> Iterator[tuple[bytes, bool]]:
    """The frames in it, each with whether it is sound; what lies between comes as it is."""
    if len(heard) >= _SMALLEST and crc16(heard) == 0:
        length = _length(heard, asks)
        if length in (0, len(heard)):
            yield heard, True
            return
    junk = start = 0
    while start < len(heard):
        length = _length(heard[start : start + 600], asks)
        if not length or crc16(heard[start : start + length]):
            start += 1
            continue
        if start > junk:
            yield heard[junk:start], False
        yield heard[start : start + length], True
        junk = start = start + length
    if start > junk:
        yield heard[junk:start], False


def _length(data: bytes, asks: bool) -> int:
    measure = request_length if asks else answer_length
    return measure(bytearray(data), len(data))


def _frame(
    burst: Burst,
    start: int,
    end: int,
    gap: float | None,
    data: bytes,
    sound: bool,
    asks: bool,
    marks: tuple[Mark, ...],
) -> Frame:
    if not sound:
        return Frame(
            burst.number, start, end, gap, burst.origin, Kind.DAMAGED, data, marks, burst.collided
        )
    function, body = data[1], data[2:-2]
    kind = Kind.REQUEST if asks else Kind.ANSWER
    address = count = None
    values: tuple[int, ...] | None = None
    exception = None
    if not asks and function & EXCEPTION:
        kind, function = Kind.EXCEPTION, function & ~EXCEPTION
        exception = EXCEPTION_NAMES.get(body[0], f"code {body[0]}")
    elif function in _WRITES_ONE and len(body) == 4:
        address, count, values = _word(body, 0), 1, (_word(body, 2),)
    elif (asks or function in _WRITES_MANY) and function in _ADDRESSED and len(body) >= 4:
        address, count = _word(body, 0), _word(body, 2)
        if function == WRITE_MANY and asks:
            values = _words(body[5:])
    elif function in _REGISTER_ANSWERS:
        values = _words(body[1:])
    return Frame(
        burst.number, start, end, gap, burst.origin, kind, data, marks, burst.collided,
        data[0], function, address, count, values, exception,
    )  # fmt: skip


def _word(data: bytes, at: int) -> int:
    return data[at] << 8 | data[at + 1]


def _words(data: bytes) -> tuple[int, ...]:
    return tuple(_word(data, at) for at in range(0, len(data) - 1, 2))
