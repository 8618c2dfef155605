"""Minute, hour and day values as HJ 212 wants them, from readings in one pass.

A period begins at ``DataTime`` and is counted in Beijing time (HJ 212-2017, annex C.16 to C.18).
Least, mean and greatest are those of the normal readings only. The flag of a period: air is normal
if 75 % of its readings are, water only if all are (annex C, tables 16 to 18). A reading that a
period should have had and has not is counted as not normal, so a hole is said: flag B where what
is missing decides, else that of the commonest fault for water and D for air. A period without a
normal reading has a flag and no value.

Late readings change the period that they belong to. One that had been closed is then unsent again.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from protocols.uplink.hj212 import DAY_MS, HOUR_MS, OFFSET_MS, Body, Item, data_time

from .codes import CODES, FLOW, PollutantCode, written

PERIOD_CODES: Final = ("2051", "2061", "2031")
MAX_RANGES: Final = 200  # ranges of records behind a period; the nearest two become one
MAX_EMPTY: Final = 2_000  # empty periods that one look closes; the next look goes on
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


class Aggregates:
    """The periods of one MN: open ones, closed ones that are unsent, and the newest others.

    ``expected``: for each code the milliseconds between two of its readings; the codes of a frame
    and their order are those of ``codes``. ``earlier`` returns a period that is not held any more.
    """

    def __init__(
        self,
        kinds: Mapping[str, int],
        codes: Iterable[PollutantCode],
        expected: Mapping[str, int],
        earlier: Callable[[str, int], AggregatePeriod | None] = lambda cn, start: None,
    ) -> None:
        self.lengths = {cn: [(0, length)] for cn, length in kinds.items()}  # since when, ms
        self.codes = {code.code: code for code in codes}
        self.periods: dict[tuple[str, int], AggregatePeriod] = {}
        self.closed_to: dict[str, int] = {}  # by kind: everything before is closed
        self.changed: set[tuple[str, int]] = set()  # since the last call of `take_changed`
        self.unknown = 0  # readings of codes that are not sent
        self._expected = dict(expected)
        self._earlier = earlier
        self._flow: Decimal | None = None

    def learn(self, code: PollutantCode, every_ms: int) -> None:
        """Send a code from now on, in its place among the others."""
        self._expected[code.code] = every_ms
        self.codes[code.code] = code
        self.codes = {name: self.codes[name] for name in CODES if name in self.codes}

    def length_at(self, cn: str, unix_ms: int) -> int:
        """Return how long the period of this kind is that a moment is in."""
        return [length for since, length in self.lengths[cn] if since <= unix_ms][-1]

    def change_length(self, cn: str, length_ms: int, now_ms: int) -> None:
        """Let the periods of a kind have another length from the next full hour on."""
        since = period_start(now_ms, HOUR_MS) + HOUR_MS
        kept = [one for one in self.lengths[cn] if one[0] < since]
        self.lengths[cn] = [*kept, (since, length_ms)]

    def every(self, code: str) -> int:
        """Return the milliseconds between two readings of a code; 0 if that is not known."""
        return self._expected.get(code, 0)

    @property
    def shortest(self) -> str:
        """Return the kind with the shortest periods; empty if there is none."""
        return min(self.lengths, key=lambda cn: self.lengths[cn][-1][1], default="")

    def add(self, reading: CodeReading) -> None:
        """Count a reading in its period of each kind."""
        code = self.codes.get(reading.code)
        if code is None:
            self.unknown += 1
            return
        if code.code == FLOW:
            self._flow = reading.value if reading.flag == NORMAL else None
        for cn in self.lengths:
            length = self.length_at(cn, reading.unix_ms)
            start = period_start(reading.unix_ms, length)
            self.closed_to.setdefault(cn, start)
            period = self._period(cn, start, length)
            cell = period.cells.setdefault(code.code, PeriodCell())
            cell.add(reading.value, reading.flag, self._flow if code.has_total else None)
            period.trace(reading.stream, reading.seq)
            if period.is_closed:
                period.revision += 1
            self.changed.add((cn, start))

    def _period(self, cn: str, start: int, length: int) -> AggregatePeriod:
        key = cn, start
        period = self.periods.get(key)
        if period is None:
            period = self._earlier(cn, start) or AggregatePeriod(cn, start, start + length)
            if period.end_ms <= self.closed_to[cn] and not period.is_closed:
                period.is_closed = True  # before the first that was ever closed
            self.periods[key] = period
        return period

    def close(self, until_ms: int) -> bool:
        """Close what ended by then, empty periods too; whether more empty ones are to come."""
        more = False
        for cn in self.lengths:
            start = self.closed_to.get(cn)
            if start is None:
                continue
            for _ in range(MAX_EMPTY):
                length = self.length_at(cn, start)
                if start + length > until_ms:
                    break
                period = self._period(cn, start, length)
                period.is_closed = True
                self.changed.add((cn, start))
                start += length
            else:
                more = more or start + self.length_at(cn, start) <= until_ms
            self.closed_to[cn] = start
        return more

    def take_changed(self) -> list[AggregatePeriod]:
        """Return what changed since the last call."""
        keys, self.changed = sorted(self.changed), set()
        return [self.periods[key] for key in keys if key in self.periods]

    def unsent(self) -> Iterator[AggregatePeriod]:
        """Yield what is to be sent, the oldest first."""
        for key in sorted(self.periods, key=lambda key: (key[1], key[0])):
            if self.periods[key].is_unsent:
                yield self.periods[key]

    def forget(self, before_ms: int) -> None:
        """Drop periods that ended before then and are with the platform."""
        for key, period in list(self.periods.items()):
            if period.end_ms < before_ms and period.is_closed and not period.is_unsent:
                del self.periods[key]

    def body(
        self,
        period: AggregatePeriod,
        name: Callable[[str], str] = str,
        flags: str = "always",
        digits: int = 14,
    ) -> Body:
        """Return what HJ 212 says of a period: DataTime, then an item for each code."""
        items: list[Item] = [(("DataTime", data_time(period.start_ms, digits)),)]
        for code in self.codes.values():
            cell = period.cells.get(code.code, PeriodCell())
            wire = name(code.code)
            item = [(f"{wire}-{part}", text) for part, text in self._values(period, code, cell)]
            flag = self.flag(period, code.code)
            if flags == "always" or (flags == "abnormal" and flag != NORMAL) or not item:
                item.append((f"{wire}-Flag", flag))
            items.append(tuple(item))
        return tuple(items)

    def flag(self, period: AggregatePeriod, code: str) -> str:
        """Return the flag of a code in a period."""
        every = self._expected.get(code, 0)
        wanted = (period.end_ms - period.start_ms) // every if every else 0
        cell = period.cells.get(code, PeriodCell())
        return cell.flag(wanted, is_water=self.codes[code].is_water)

    def _values(
        self, period: AggregatePeriod, code: PollutantCode, cell: PeriodCell
    ) -> Iterator[tuple[str, str]]:
        normal = cell.flags[NORMAL]
        if not normal or cell.least is None or cell.greatest is None:
            return
        mean = cell.total / normal
        if code.has_total:
            seconds = Decimal(period.end_ms - period.start_ms) / 1000
            if code.code == FLOW:  # L/s become m3, C.16: 17.5 L/s in 600 s are 10.5 m3
                yield "Cou", written(mean * seconds / 1000, 1)
            elif cell.carriers:  # mg/L times L/s become kg
                kilograms = cell.carried / cell.carriers * seconds / 1_000_000
                yield "Cou", written(kilograms, 3)
        yield "Min", written(cell.least, code.digits)
        yield "Avg", written(mean, code.digits)
        yield "Max", written(cell.greatest, code.digits)


def lengths_of(sends: Iterable[str], minutes: int) -> dict[str, int]:
    """Return the kinds of period among the commands that are sent, with their lengths."""
    lengths = {"2051": minutes * 60_000, "2061": HOUR_MS, "2031": DAY_MS}
    return {cn: lengths[cn] for cn in PERIOD_CODES if cn in set(sends)}
