"""How faults change what an endpoint sends. Pure: all chance is drawn from the generator given."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from hil.bus.fault import Fault, FaultApplied, FaultKind
from protocols.wire.crc import crc16


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes to put on the line ``after_ns`` from now.

    ``sent`` is what the endpoint sent, ``data`` what the faults made of it. Before byte ``i`` of
    ``data`` the line pauses for ``pauses[i]`` ns.
    """

    sent: bytes
    data: bytes
    faults: tuple[FaultApplied, ...] = ()
    after_ns: int = 0
    pauses: dict[int, int] = field(default_factory=dict)


def apply(
    fault: Fault, origin: str, burst: bytes, rng: random.Random, split_ns: int
) -> list[Piece]:
    """Return what a burst becomes; ``split_ns`` is the pause of a SPLIT that names none."""

    def note(detail: str, at: int = -1) -> tuple[FaultApplied, ...]:
        return (FaultApplied(fault.kind, origin, at, detail),)

    match fault.kind:
        case FaultKind.FLIP:
            at, bit = rng.randrange(len(burst)), rng.randrange(8)
            spoiled = bytearray(burst)
            spoiled[at] ^= 1 << bit
            return [Piece(burst, bytes(spoiled), note(f"bit {bit}", at))]
        case FaultKind.DROP:
            return [Piece(burst, b"", note(f"{len(burst)} bytes"))]
        case FaultKind.DUPLICATE:
            return [Piece(burst, burst * 2, note(f"{len(burst)} bytes"))]
        case FaultKind.NOISE:
            noise = rng.randbytes(fault.size)
            return [Piece(burst, noise + burst, note(f"{noise.hex(' ')} before it"))]
        case FaultKind.CUT:
            lost = len(burst) - fault.size
            return [Piece(burst, burst[: fault.size], note(f"{lost} bytes lost", fault.size))]
        case FaultKind.DELAY:
            after = round(fault.delay_s * 1e9)
            return [Piece(burst, burst, note(f"{fault.delay_s * 1000:g} ms late"), after)]
        case FaultKind.FOREIGN:
            body = bytes((fault.unit,)) + burst[1:-2]
            answer = body + crc16(body).to_bytes(2, "little")
            return [Piece(burst, answer, note(f"unit {burst[0]} became {fault.unit}", 0))]
        case FaultKind.SPLIT:
            at = rng.randrange(1, len(burst))
            pause = round(fault.delay_s * 1e9) or split_ns
            text = note(f"pause of {pause / 1e6:g} ms", at)
            return [Piece(burst, burst, text, pauses={at: pause})]
        case _:
            raise ValueError(f"fault: expected a kind that hits one burst, got {fault.kind}")


def spoil(piece: Piece, origin: str, faults: Sequence[Fault], rng: random.Random) -> Piece:
    """Return the piece after the byte faults ``faults``; each byte is drawn once for each."""
    out = bytearray()
    applied: list[FaultApplied] = []
    pauses: dict[int, int] = {}
    for at, byte in enumerate(piece.data):
        if at in piece.pauses:
            pauses[len(out)] = piece.pauses[at]
        left = bytes((byte,))
        for fault in faults:
            if fault.used_up() or rng.random() >= fault.rate:
                continue
            if fault.kind is FaultKind.BYTE_INSERT:
                extra = rng.randrange(256)
                left = bytes((extra,)) + left
                detail = f"{extra:02x} before it"
            elif not left:
                continue  # dropped already
            elif fault.kind is FaultKind.BYTE_DROP:
                detail, left = f"{left.hex(' ')} lost", b""
            elif fault.kind is FaultKind.BYTE_DUPLICATE:
                detail, left = f"{left[-1]:02x} twice", left + left[-1:]
            else:
                bit = rng.randrange(8)
                left = left[:-1] + bytes((left[-1] ^ 1 << bit,))
                detail = f"bit {bit}"
            fault.applied += 1
            applied.append(FaultApplied(fault.kind, origin, at, detail))
        out += left
    return replace(piece, data=bytes(out), faults=piece.faults + tuple(applied), pauses=pauses)
