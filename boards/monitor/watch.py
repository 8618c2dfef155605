"""One node, polled and remembered: what a chart and a log line are made of."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from boards.node_line import NodeIdentity
from protocols.wire.register_names import QUALITY_NAMES, STATUS_NAMES
from protocols.wire.registers import OK, Point
from protocols.wire.sample import Sample

HISTORY: Final = 120  # samples of a point that are remembered


@dataclass(frozen=True, slots=True)
class PointReading:
    """A point of one sample; ``value`` is None where its quality is not "ok"."""

    value: float | None
    quality: str


@dataclass(frozen=True, slots=True)
class NodeReading:
    """One sample of a node."""

    boot_epoch: int
    seq: int
    status: tuple[str, ...]
    points: Mapping[str, PointReading]

    def to_dict(self) -> dict[str, object]:
        """Return a table for JSON."""
        return {
            "sample": f"{self.boot_epoch}/{self.seq}",
            "status": list(self.status),
            "points": {
                name: {"value": point.value, "quality": point.quality}
                for name, point in self.points.items()
            },
        }


def reading_of(sample: Sample) -> NodeReading:
    """Return a sample in the units of its points."""
    header = sample.header
    points = {}
    for index, point in enumerate(sample.map.points):
        quality = sample.quality[index]
        value = round(sample.raw[index] * 10.0**point.exp10, max(0, -point.exp10))
        points[point.name] = PointReading(value if quality == OK else None, QUALITY_NAMES[quality])
    status = tuple(name for bit, name in enumerate(STATUS_NAMES) if header.status & 1 << bit)
    return NodeReading(header.boot_epoch, header.seq, status, points)


@dataclass(slots=True)
class WatchedNode:
    """What is remembered of a node. ``missed`` counts samples whose turn nobody saw."""

    identity: NodeIdentity
    port: str
    unit: int
    last: NodeReading | None = None
    samples: int = 0
    missed: int = 0
    restarts: int = 0
    silent: int = 0  # polls without an answer since the last one with
    history: dict[str, deque[float | None]] = field(default_factory=dict)

    @property
    def points(self) -> tuple[Point, ...]:
        """The points of its role."""
        return self.identity.map.points

    def take(self, reading: NodeReading) -> bool:
        """Take what a poll showed; return whether it is a sample that was not seen before."""
        self.silent = 0
        last = self.last
        if reading.seq == 0:  # it has not sampled yet
            return False
        if last is not None:
            if (last.boot_epoch, last.seq) == (reading.boot_epoch, reading.seq):
                return False
            if last.boot_epoch == reading.boot_epoch:
                self.missed += max(0, reading.seq - last.seq - 1)
            else:
                self.restarts += 1
        self.last = reading
        self.samples += 1
        for name, point in reading.points.items():
            self.history.setdefault(name, deque(maxlen=HISTORY)).append(point.value)
        return True
