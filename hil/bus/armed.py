"""The faults armed on a line: which of them hits what, and when the state of an endpoint ends."""

from __future__ import annotations

import random

from hil.bus.fault import BYTE_KINDS, STATE_KINDS, Fault


class ArmedFaults:
    """Faults in the order they were armed. All chance is drawn from ``random``.

    ``ends`` are the times at which states end, each with its fault.
    """

    def __init__(self, rng: random.Random) -> None:
        self.random = rng
        self.armed: list[Fault] = []
        self.ends: list[tuple[int, Fault]] = []

    def add(self, fault: Fault) -> None:
        """Arm a fault."""
        self.armed.append(fault)

    def remove(self, fault: Fault) -> None:
        """Disarm a fault; its state does not end by itself any more."""
        self.armed = [other for other in self.armed if other is not fault]
        self.ends = [(at, other) for at, other in self.ends if other is not fault]

    def hit_bursts_of(self, origin: str) -> bool:
        """Return whether a fault waits for whole bursts of this endpoint."""
        return any(
            fault.concerns(origin) and fault.kind not in BYTE_KINDS and not fault.used_up()
            for fault in self.armed
        )

    def hit_bytes_of(self, origin: str) -> list[Fault]:
        """Return the faults that are applied to each byte of this endpoint."""
        return [
            fault for fault in self.armed if fault.kind in BYTE_KINDS and fault.concerns(origin)
        ]

    def choose(self, origin: str, burst: bytes) -> Fault | None:
        """Return the fault that hits this burst: the first armed one that fits and is drawn.

        Its application is counted. After its last one it is disarmed.
        """
        chosen = None
        for fault in self.armed:
            if fault.kind in BYTE_KINDS or fault.kind in STATE_KINDS or not fault.concerns(origin):
                continue
            fault.seen += 1
            if chosen is not None or fault.used_up() or fault.seen <= fault.after:
                continue
            if fault.fits(burst) and self.random.random() < fault.rate:
                fault.applied += 1
                chosen = fault
        if chosen is not None and chosen.used_up():
            self.remove(chosen)
        return chosen

    def states_after(self, origin: str) -> list[Fault]:
        """Count one more burst of this endpoint; return the states that begin behind it."""
        begin = []
        for fault in self.armed:
            if fault.kind in STATE_KINDS and fault.origin == origin and not fault.applied:
                fault.seen += 1
                if fault.seen > fault.after:
                    begin.append(fault)
        return begin

    def begin(self, fault: Fault, now: int) -> None:
        """Note that the state of a fault begins at ``now`` (ns)."""
        fault.applied += 1
        if fault.lasts_s is not None:
            self.ends.append((now + round(fault.lasts_s * 1e9), fault))

    def ended(self, now: int) -> list[Fault]:
        """Disarm and return the faults whose state has ended by ``now``."""
        ended = [fault for at, fault in self.ends if at <= now]
        for fault in ended:
            self.remove(fault)
        return ended
