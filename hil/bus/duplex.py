"""One full-duplex serial line between two ends, with the faults and the trace of the RS-485 line.

Each direction is a medium of its own, so bytes of the two ends never collide::

    async with DuplexLine({"gateway": Pty(4095), "hall": board.wire("link")}, baud=115200) as link:
        link.inject(Fault(FaultKind.BYTE_FLIP, times=None, rate=0.01))
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Self

from hil.bus.fault import Fault, FaultKind, Plan
from hil.bus.line import Rs485Line
from hil.bus.trace import Trace
from hil.wires.pty import Pty
from hil.wires.wire import Wire

#: What hits both wires of an end: it is off both, or the two wires of both are crossed.
_BOTH_WAYS = frozenset((FaultKind.UNPLUG, FaultKind.SWAP))


class DuplexLine:
    """A line between the two named ends. ``baud`` paces the bytes of each direction; None does not.

    A fault without an origin is armed for both directions and counts both. An end that is UNPLUGged
    or SWAPped (its levels are inverted) neither receives nor sends; armed with ``after``, only what
    it sends is hit, as by one broken wire. STUCK holds the wire on which the end sends. Everything
    random is drawn from ``seed``. Use as ``async with``. ValueError unless there are two ends.
    """

    def __init__(self, ends: Mapping[str, Wire], *, seed: int = 0, baud: int | None = None) -> None:
        if len(ends) != 2:
            raise ValueError(f"ends: expected two, got {list(ends)}")
        self._wires = dict(ends)
        self.seed = seed
        self.trace = Trace()
        self._armed: list[Fault] = []
        self._ways: dict[str, Rs485Line] = {}
        for offset, origin in enumerate(ends):
            wires = {
                name: _Talks(wire) if name == origin else _Listens(wire)
                for name, wire in ends.items()
            }
            # The second direction has chances of its own.
            line = Rs485Line(wires, seed=seed + 1000 * offset, baud=baud, trace=self.trace)
            self._ways[origin] = line

    async def __aenter__(self) -> Self:
        for way in self._ways.values():
            await way.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Cut the line: close both wires, drop the bytes under way."""
        for way in self._ways.values():
            way.close()

    @property
    def names(self) -> tuple[str, ...]:
        """Return the two ends."""
        return tuple(self._ways)

    def path(self, name: str) -> str:
        """Return the terminal to open for this end, 8N1 at any speed. LookupError."""
        self._way(name)
        wire = self._wires[name]
        if not isinstance(wire, Pty):
            raise LookupError(f"end {name!r} has no path: its wire is {wire!r}")
        return wire.path

    def sent(self, name: str) -> int:
        """Return how many bytes this end has sent."""
        return self._way(name).traffic(name).sent

    @property
    def applied(self) -> Counter[FaultKind]:
        """Return how often each kind of fault was applied, by all faults armed so far."""
        count: Counter[FaultKind] = Counter()
        for fault in self._armed:
            count[fault.kind] += fault.applied
        return count

    def inject(self, fault: Fault) -> Fault:
        """Arm a fault, and return it; see the class for the directions that it hits."""
        if fault.origin is not None:
            self._way(fault.origin)
        for way in self._hit_by(fault):
            way.inject(fault)
        self._armed.append(fault)
        return fault

    def disarm(self, fault: Fault) -> None:
        """Disarm a fault and end its state; nothing happens if it is used up."""
        for way in self._hit_by(fault):
            way.disarm(fault)

    def plan(self) -> Plan:
        """Return the seed and all faults armed so far."""
        return Plan(self.seed, tuple(self._armed))

    def flush(self, name: str) -> None:
        """Drop what an end has not read: call it when its node has lost power."""
        self._way(name)
        self._wires[name].flush()

    def noise(self, size: int) -> None:
        """Disturb the line: both ends receive ``size`` random bytes."""
        for way in self._ways.values():
            way.noise(size)

    def _way(self, origin: str) -> Rs485Line:
        try:
            return self._ways[origin]
        except KeyError:
            known = ", ".join(self._ways)
            raise LookupError(f"no end {origin!r} on this line; it has {known}") from None

    def _hit_by(self, fault: Fault) -> list[Rs485Line]:
        if fault.origin is None or fault.kind in _BOTH_WAYS:
            return list(self._ways.values())
        return [self._ways[fault.origin]]


class _Talks:
    """The end of a wire that sends on one direction, and receives nothing from it."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.overrun = 0

    def listen(self, on_data: Callable[[bytes], None]) -> None:
        self._wire.listen(on_data)

    def write(self, data: bytes) -> int:
        return len(data)

    def flush(self) -> None:
        """Leave what waits at the far end: that is of the other direction."""

    def close(self) -> None:
        self._wire.close()


class _Listens:
    """The end of a wire that receives from one direction, and sends nothing on it."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    @property
    def overrun(self) -> int:
        return self._wire.overrun

    @overrun.setter
    def overrun(self, value: int) -> None:
        self._wire.overrun = value

    def listen(self, on_data: Callable[[bytes], None]) -> None:
        """Call nothing: what this end sends goes the other way."""

    def write(self, data: bytes) -> int:
        return self._wire.write(data)

    def flush(self) -> None:
        self._wire.flush()

    def close(self) -> None:
        self._wire.close()
