"""The trace as Modbus RTU: frames, and which answer belongs to which request.

What was *received* is decoded (:mod:`protocols.modbus_client.frames`), not what was sent; bytes
that are part of no valid frame stay a frame without a CRC.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from enum import StrEnum

from hil.bus.fault import FaultApplied
from hil.bus.trace import NOISE, Burst
from protocols.modbus_client.frames import FrameContent, content_of, split_frames
from protocols.modbus_client.names import FUNCTION_NAMES


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

    ``content`` is None of what is no valid frame.
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
    content: FrameContent | None = None

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
        assert self.content is not None
        return self.content.describe()

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
            "collided": self.collided or None,
            "faults": [str(fault) for fault in self.faults] or None,
        }
        if self.content is not None:
            plain |= asdict(self.content) | {"name": FUNCTION_NAMES.get(self.content.function)}
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
        for piece, valid in split_frames(burst.heard, is_request):
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
    content = content_of(data, is_request)
    kind = FrameKind.REQUEST if is_request else FrameKind.ANSWER
    return BusFrame(
        burst.number, start, end, gap, burst.origin,
        kind if content.exception is None else FrameKind.EXCEPTION,
        data, faults, burst.collided, content,
    )  # fmt: skip
