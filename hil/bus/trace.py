"""A record of the line in bounded memory: each burst as it was sent and as it was received."""

from __future__ import annotations

import json
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from hil.bus.fault import FaultApplied, FaultKind

#: Bursts kept in memory; a file keeps them all.
BURSTS: Final = 10_000
#: The origin of a disturbance that no endpoint made.
NOISE: Final = "noise"


@dataclass(slots=True)
class Burst:
    """What one endpoint sent without a pause. Times are monotonic ns of the line's clock.

    ``heard`` is what an ordinary receiver elsewhere on the line got (empty: nothing reached it);
    ``faults`` are the faults that made the difference. ``stamps`` are (index in ``heard``, time its
    start bit began) wherever bytes did not follow each other; ``byte_ns`` is 0 on an unpaced line.
    """

    number: int
    origin: str
    start_ns: int
    end_ns: int
    byte_ns: int
    sent: bytes = b""
    heard: bytes = b""
    faults: tuple[FaultApplied, ...] = ()
    collided: bool = False
    stamps: list[tuple[int, int]] = field(default_factory=list)

    def byte_time(self, index: int) -> int:
        """Return when the start bit of ``heard[index]`` began. IndexError if there is none."""
        if not 0 <= index < len(self.heard):
            raise IndexError(f"burst {self.number} has {len(self.heard)} bytes, asked for {index}")
        first, at = next(stamp for stamp in reversed(self.stamps) if stamp[0] <= index)
        return at + (index - first) * self.byte_ns

    def to_json(self) -> str:
        """Return one line of JSON, bytes as hex."""
        return json.dumps(
            {
                "number": self.number,
                "origin": self.origin,
                "start_ns": self.start_ns,
                "end_ns": self.end_ns,
                "byte_ns": self.byte_ns,
                "sent": self.sent.hex(),
                "heard": self.heard.hex(),
                "collided": self.collided,
                "marks": [[f.kind, f.origin, f.at, f.detail] for f in self.faults],
                "stamps": self.stamps,
            }
        )

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Read :meth:`to_json` back. ValueError, KeyError for anything else."""
        data = json.loads(line)
        return cls(
            data["number"],
            data["origin"],
            data["start_ns"],
            data["end_ns"],
            data["byte_ns"],
            bytes.fromhex(data["sent"]),
            bytes.fromhex(data["heard"]),
            tuple(FaultApplied(FaultKind(k), o, a, d) for k, o, a, d in data["marks"]),
            data["collided"],
            [(index, at) for index, at in data["stamps"]],
        )


class Trace:
    """The newest ``limit`` bursts, and all of them in ``path`` (JSON lines) if there is one.

    ``total`` counts all bursts, ``faults`` every fault by kind and origin, whatever was forgotten.
    ``wall_ns`` added to a burst's time gives Unix time.
    """

    def __init__(
        self,
        limit: int = BURSTS,
        path: Path | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.bursts: deque[Burst] = deque(maxlen=limit)
        self.total = 0
        self.collisions = 0
        self.faults: Counter[tuple[FaultKind, str]] = Counter()
        self.wall_ns = time.time_ns() - clock_ns()
        self._file = None if path is None else path.open("w", encoding="utf-8")

    @property
    def forgotten(self) -> int:
        """Return how many bursts are no longer in memory."""
        return self.total - len(self.bursts)

    def open(self, origin: str, start_ns: int, byte_ns: int) -> Burst:
        """Begin a burst; the line fills it in."""
        burst = Burst(self.total, origin, start_ns, start_ns, byte_ns)
        self.total += 1
        self.bursts.append(burst)
        return burst

    def note(self, burst: Burst, faults: tuple[FaultApplied, ...]) -> None:
        """Note faults at a burst."""
        if faults:
            burst.faults += faults
            self.faults.update((fault.kind, fault.origin) for fault in faults)

    def done(self, burst: Burst) -> None:
        """Write the burst to the file: it changes no more."""
        if self._file is not None:
            self._file.write(burst.to_json() + "\n")

    def close(self) -> None:
        """Close the file; further calls do nothing."""
        if self._file is not None:
            self._file.close()
            self._file = None


class BurstRecorder:
    """Sorts what endpoints send into bursts of a trace.

    A burst ends with a silence of over ``gap_ns``, when another endpoint sends, or with ``limit``
    bytes. ``lags`` is added to the times of an origin.
    """

    def __init__(
        self, trace: Trace, byte_ns: int, gap_ns: int, limit: int, lags: Mapping[str, int]
    ) -> None:
        self._trace = trace
        self._byte_ns = byte_ns
        self._gap_ns = gap_ns
        self._limit = limit
        self._lags = lags
        self._open: dict[str, Burst] = {}
        self._last = ""  # the endpoint whose burst was opened last

    def burst(self, origin: str, start: int) -> Burst:
        """Return the burst that bytes of ``origin`` belong to which begin at ``start``."""
        start += self._lags.get(origin, 0)
        burst = self._open.get(origin)
        if (
            burst is None
            or self._last != origin
            or start - burst.end_ns > self._gap_ns
            or len(burst.sent) >= self._limit
        ):
            if burst is not None:
                self._trace.done(burst)
            burst = self._open[origin] = self._trace.open(origin, start, self._byte_ns)
            self._last = origin
        burst.end_ns = max(burst.end_ns, start)
        return burst

    def received(self, burst: Burst, data: bytes, at: int) -> None:
        """Add bytes that were received; the first one began at ``at``."""
        at += self._lags.get(burst.origin, 0)
        known = len(burst.heard)
        if not known or at != burst.byte_time(known - 1) + burst.byte_ns:
            burst.stamps.append((known, at))
        burst.heard += data

    def ended(self, burst: Burst, at: int) -> None:
        """Note that what was sent of a burst had passed at ``at``."""
        burst.end_ns = max(burst.end_ns, at + self._lags.get(burst.origin, 0))

    def close(self) -> None:
        """End all bursts."""
        for burst in self._open.values():
            self._trace.done(burst)
        self._open.clear()


def load(path: Path) -> list[Burst]:
    """Read the bursts of a trace file. ValueError with file:line for a line that is no burst."""
    bursts = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                bursts.append(Burst.from_json(line))
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(
                    f"{path}:{number}: expected a burst of a trace: {error!r}"
                ) from None
    return bursts
