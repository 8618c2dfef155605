"""One period of HJ 212: what each code had in it, and which records stand behind it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from protocols.uplink.hj212 import OFFSET_MS

MAX_RANGES: Final = 200  # ranges of records behind a period; the nearest two become one
_SHARE: Final = (3, 4)  # 75 %
NORMAL: Final = "N"
MISSING: Final = "B"
FAULTY: Final = "D"


@dataclass(frozen=True, slots=True)
class CodeReading:
    """One value of one code, converted; ``value`` is None where ``flag`` gives the reason."""

    code: str
    unix_ms: int
    value: Decimal | None
    flag: str
    stream: int
    seq: int


@dataclass(slots=True)
class PeriodCell:
    """One code in one period."""

    flags: Counter[str] = field(default_factory=Counter)
    total: Decimal = Decimal(0)
    least: Decimal | None = None
    greatest: Decimal | None = None
    carried: Decimal = Decimal(0)  # sum of value times flow
    carriers: int = 0

    def add(self, value: Decimal | None, flag: str, flow: Decimal | None) -> None:
        """Count a reading."""
        if value is None and flag == NORMAL:
            flag = FAULTY
        self.flags[flag] += 1
        if value is None or flag != NORMAL:
            return
        self.total += value
        self.least = value if self.least is None else min(self.least, value)
        self.greatest = value if self.greatest is None else max(self.greatest, value)
        if flow is not None:
            self.carried += value * flow
            self.carriers += 1

    def flag(self, expected: int, *, is_water: bool) -> str:
        """Return the flag of the period for ``expected`` readings."""
        normal = self.flags[NORMAL]
        all_of_them = max(expected, self.flags.total())
        missing = all_of_them - self.flags.total()
        if not all_of_them:
            return MISSING
        if is_water:
            faults = Counter({name: n for name, n in self.flags.items() if name != NORMAL})
            if faults:
                return faults.most_common(1)[0][0]
            return MISSING if missing else NORMAL
        if normal * _SHARE[1] >= all_of_them * _SHARE[0]:
            return NORMAL
        return MISSING if missing > all_of_them - missing - normal else FAULTY


@dataclass(slots=True)
class AggregatePeriod:
    """One period of one kind; ``revision`` rises with each change after it was closed."""

    cn: str
    start_ms: int
    end_ms: int
    cells: dict[str, PeriodCell] = field(default_factory=dict)
    ranges: list[list[int]] = field(default_factory=list)  # records: stream, first, last
    is_closed: bool = False
    revision: int = 0
    sent: int = -1  # the revision that the platform has

    @property
    def is_unsent(self) -> bool:
        """Whether the platform lacks what it says now."""
        return self.is_closed and self.sent < self.revision

    def seqs(self, stream: int) -> Iterator[int]:
        """Yield the records of a stream that stand behind it."""
        for at, first, last in self.ranges:
            if at == stream:
                yield from range(first, last + 1)

    def trace(self, stream: int, seq: int) -> None:
        """Note a record that stands behind it."""
        for one in reversed(self.ranges):
            if one[0] == stream and one[1] <= seq <= one[2] + 1:
                one[2] = max(one[2], seq)
                return
        self.ranges.append([stream, seq, seq])
        if len(self.ranges) > MAX_RANGES:
            self.ranges.sort()
            gaps = [
                (right[1] - left[2], at)
                for at, (left, right) in enumerate(zip(self.ranges, self.ranges[1:], strict=False))
                if left[0] == right[0]
            ]
            if gaps:
                at = min(gaps)[1]
                self.ranges[at][2] = self.ranges.pop(at + 1)[2]


def period_start(unix_ms: int, length_ms: int) -> int:
    """Return the start of the period in Beijing time that a moment is in."""
    return (unix_ms + OFFSET_MS) // length_ms * length_ms - OFFSET_MS
