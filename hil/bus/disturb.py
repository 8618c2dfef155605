"""How faults change what an endpoint says: pure, all chance drawn from the generator given."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from hil.bus.fault import BYTE_KINDS, STATE_KINDS, Fault, FaultKind, Mark
from protocols.wire.crc import crc16


@dataclass(frozen=True, slots=True)
class Piece:
    """Something to put on the line ``after_ns`` from now.

    ``sent`` is what the endpoint said, ``data`` what goes out of it; before byte ``i`` of ``data``
    the line pauses for ``pauses[i]`` ns.
    """

    sent: bytes
    data: bytes
    marks: tuple[Mark, ...] = ()
    after_ns: int = 0
    pauses: dict[int, int] = field(default_factory=dict)


def choose(faults: Iterable[Fault], origin: str, burst: bytes, rng: random.Random) -> Fault | None:
    """The fault that hits this burst, counted: the first armed one that fits and is drawn."""
    chosen = None
    for fault in faults:
        if fault.kind in BYTE_KINDS or fault.kind in STATE_KINDS or not fault.concerns(origin):
            continue
        fault.seen += 1
        if chosen is not None or fault.used_up() or fault.seen <= fault.after:
            continue
        if fault.fits(burst) and rng.random() < fault.rate:
            fault.applied += 1
            chosen = fault
    return chosen


def apply(
    fault: Fault, origin: str, burst: bytes, rng: random.Random, split_ns: int
) -> list[Piece]:
    """What a burst becomes; ``split_ns`` is the pause of a SPLIT that names none."""

    def mark(detail: str, at: int = -1) -> tuple[Mark, ...]:
        return (Mark(fault.kind, origin, at, detail),)

    match fault.kind:
        case FaultKind.FLIP:
            at, bit = rng.randrange(len(burst)), rng.randrange(8)
            spoiled = bytearray(burst)
            spoiled[at] ^= 1 << bit
            return [Piece(burst, bytes(spoiled), mark(f"bit {bit}", at))]
        case FaultKind.DROP:
            return [Piece(burst, b"", mark(f"{len(burst)} bytes"))]
        case FaultKind.DUPLICATE:
            return [Piece(burst, burst * 2, mark(f"{len(burst)} bytes"))]
        case FaultKind.NOISE:
            noise = rng.randbytes(fault.size)
            return [Piece(burst, noise + burst, mark(f"{noise.hex(' ')} before it"))]
        case FaultKind.CUT:
            lost = len(burst) - fault.size
            return [Piece(burst, burst[: fault.size], mark(f"{lost} bytes lost", fault.size))]
        case FaultKind.DELAY:
            after = round(fault.delay_s * 1e9)
            return [Piece(burst, burst, mark(f"{fault.delay_s * 1000:g} ms late"), after)]
        case FaultKind.FOREIGN:
            body = bytes((fault.unit,)) + burst[1:-2]
            answer = body + crc16(body).to_bytes(2, "little")
            return [Piece(burst, answer, mark(f"unit {burst[0]} became {fault.unit}", 0))]
        case FaultKind.SPLIT:
            at = rng.randrange(1, len(burst))
            pause = round(fault.delay_s * 1e9) or split_ns
            text = mark(f"pause of {pause / 1e6:g} ms", at)
            return [Piece(burst, burst, text, pauses={at: pause})]
        case _:
            raise ValueError(f"{fault.kind} is no fault of a burst")


def spoil(piece: Piece, origin: str, faults: Sequence[Fault], rng: random.Random) -> Piece:
    """The piece after the byte faults among ``faults``, each byte drawn once for each of them."""
    out = bytearray()
    marks: list[Mark] = []
    pauses: dict[int, int] = {}
    for at, byte in enumerate(piece.data):
        if at in piece.pauses:
            pauses[len(out)] = piece.pauses[at]
        told = bytes((byte,))
        for fault in faults:
            if fault.used_up() or rng.random() >= fault.rate:
                continue
            if fault.kind is FaultKind.BYTE_INSERT:
                extra = rng.randrange(256)
                told = bytes((extra,)) + told
                detail = f"{extra:02x} before it"
            elif not told:
                continue  # dropped already
            elif fault.kind is FaultKind.BYTE_DROP:
                detail, told = f"{told.hex(' ')} lost", b""
            elif fault.kind is FaultKind.BYTE_DUPLICATE:
                detail, told = f"{told[-1]:02x} twice", told + told[-1:]
            else:
                bit = rng.randrange(8)
                told = told[:-1] + bytes((told[-1] ^ 1 << bit,))
                detail = f"bit {bit}"
            fault.applied += 1
            marks.append(Mark(fault.kind, origin, at, detail))
        out += told
    return replace(piece, data=bytes(out), marks=piece.marks + tuple(marks), pauses=pauses)
