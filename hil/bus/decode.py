"""The trace as Modbus RTU: frames, and which answer belongs to which request.

What was *received* is decoded, not what was sent. Frames that ran together are told apart by their
lengths (:mod:`protocols.wire.modbus.adu`) and CRCs; bytes that are part of no valid frame stay a
frame without a CRC.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from hil.bus.fault import SHORTEST_FRAME, FaultApplied
from hil.bus.trace import NOISE, Burst
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

_REGISTER_ANSWERS: Final = (READ_HOLDING, READ_INPUT, READ_WRITE)
_WRITES_ONE: Final = (0x05, WRITE_ONE)  # a coil, a register
_WRITES_MANY: Final = (0x0F, WRITE_MANY)
#: Requests that begin with an address and a count; 01 and 02 read coils and discrete inputs.
_ADDRESSED: Final = (0x01, 0x02, *_REGISTER_ANSWERS, *_WRITES_MANY)


class FrameKind(StrEnum):
    """What a frame is."""

    REQUEST = "request"
    ANSWER = "answer"
    EXCEPTION = "exception"
    DAMAGED = "damaged"  # its CRC is wrong, or it is no frame at all
    UNHEARD = "unheard"  # nobody received it


@dataclass(frozen=True, slots=True)
class BusFrame:
    """One frame on the line. ``gap_us`` is the silence before it, None for the first.

    ``address`` and ``count`` are those of a request (or an answer that repeats them), ``values``
    the registers of an answer, or those a request writes; what a frame does not have is None.
    """

    burst: int
    start_ns: int
    end_ns: int
    gap_us: float | None
    origin: str
    kind: FrameKind
    data: bytes
    faults: tuple[FaultApplied, ...] = ()
    collided: bool = False
    unit: int | None = None
    function: int | None = None
    address: int | None = None
    count: int | None = None
    values: tuple[int, ...] | None = None
    exception: str | None = None

    @property
    def crc_ok(self) -> bool:
        """Return whether it is a whole frame with the right CRC."""
        return self.kind not in (FrameKind.DAMAGED, FrameKind.UNHEARD)

    def describe(self) -> str:
        """Return unit, function and registers in words."""
        if self.kind is FrameKind.UNHEARD:
            return "nobody received it"
        if self.kind is FrameKind.DAMAGED:
            return f"{len(self.data)} bytes, no valid frame"
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
        """Return a table for JSON: bytes as hex, fields that the frame does not have left out."""
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
            "faults": [str(fault) for fault in self.faults] or None,
        }
        return {key: value for key, value in plain.items() if value is not None}


@dataclass(slots=True)
class Exchange:
    """A request and all frames until the next one; ``request`` is None before the first one."""

    request: BusFrame | None
    answers: list[BusFrame] = field(default_factory=list)

    @property
    def turnaround_us(self) -> float | None:
        """Return the time from the request's last byte to the first byte of the next frame."""
        if self.request is None or not self.answers:
            return None
        return (self.answers[0].start_ns - self.request.end_ns) / 1000


def frames(bursts: Iterable[Burst], master: str = "gateway") -> Iterator[BusFrame]:
    """Return the frames of a trace in the order they began; ``master`` sends the requests."""
    last: int | None = None
    for burst in bursts:
        is_request = burst.origin == master
        if not burst.heard:
            gap = None if last is None else (burst.start_ns - last) / 1000
            kind, sent = FrameKind.UNHEARD, burst.sent
            yield BusFrame(
                burst.number, burst.start_ns, burst.end_ns, gap, burst.origin, kind, sent,
                burst.faults, burst.collided,
            )  # fmt: skip
            continue
        at = 0
        faults = burst.faults
        for piece, valid in _split(burst.heard, is_request):
            start = burst.byte_time(at)
            at += len(piece)
            end = burst.byte_time(at - 1) + burst.byte_ns
            gap = None if last is None else (start - last) / 1000
            last = end
            valid = valid and burst.origin != NOISE
            yield _frame(burst, start, end, gap, piece, valid, is_request, faults)
            faults = ()


def exchanges(bursts: Iterable[Burst], master: str = "gateway") -> list[Exchange]:
    """Return the requests, each with the frames after it."""
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
    """Return one line for each frame.

    It has the seconds since the first frame, the silence before it in ms, origin, kind, the frame
    in words, and its faults.
    """
    lines = []
    first: int | None = None
    for frame in frames(bursts, master):
        first = frame.start_ns if first is None else first
        gap = "" if frame.gap_us is None else f"+{frame.gap_us / 1000:.3f}"
        notes = "".join(f"  [{fault}]" for fault in frame.faults)
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
    """Return exchanges as a JSON array of ``{request, answers, turnaround_us}``."""
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


def _split(heard: bytes, is_request: bool) -> Iterator[tuple[bytes, bool]]:
    """Split what was received into frames, each with whether it is valid.

    The bytes between two valid frames are one piece that is not valid.
    """
    if len(heard) >= SHORTEST_FRAME and crc16(heard) == 0:
        length = _length(heard, is_request)
        if length in (0, len(heard)):
            yield heard, True
            return
    junk = start = 0
    while start < len(heard):
        length = _length(heard[start : start + MAX_FRAME], is_request)
        if not length or crc16(heard[start : start + length]):
            start += 1
            continue
        if start > junk:
            yield heard[junk:start], False
        yield heard[start : start + length], True
        junk = start = start + length
    if start > junk:
        yield heard[junk:start], False


def _length(data: bytes, is_request: bool) -> int:
    measure = request_length if is_request else answer_length
    return measure(bytearray(data), len(data))


def _frame(
    burst: Burst,
    start: int,
    end: int,
    gap: float | None,
    data: bytes,
    valid: bool,
    is_request: bool,
    faults: tuple[FaultApplied, ...],
) -> BusFrame:
    if not valid:
        return BusFrame(
            burst.number,
            start,
            end,
            gap,
            burst.origin,
            FrameKind.DAMAGED,
            data,
            faults,
            burst.collided,
        )
    function, body = data[1], data[2:-2]
    kind = FrameKind.REQUEST if is_request else FrameKind.ANSWER
    address = count = None
    values: tuple[int, ...] | None = None
    exception = None
    if not is_request and function & EXCEPTION:
        kind, function = FrameKind.EXCEPTION, function & ~EXCEPTION
        exception = EXCEPTION_NAMES.get(body[0], f"code {body[0]}")
    elif function in _WRITES_ONE and len(body) == 4:
        address, count, values = _word(body, 0), 1, (_word(body, 2),)
    elif (is_request or function in _WRITES_MANY) and function in _ADDRESSED and len(body) >= 4:
        address, count = _word(body, 0), _word(body, 2)
        if function == WRITE_MANY and is_request:
            values = _words(body[5:])
    elif function in _REGISTER_ANSWERS:
        values = _words(body[1:])
    return BusFrame(
        burst.number, start, end, gap, burst.origin, kind, data, faults, burst.collided,
        data[0], function, address, count, values, exception,
    )  # fmt: skip


def _word(data: bytes, at: int) -> int:
    return data[at] << 8 | data[at + 1]


def _words(data: bytes) -> tuple[int, ...]:
    return tuple(_word(data, at) for at in range(0, len(data) - 1, 2))
