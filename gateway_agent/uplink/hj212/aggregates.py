"""Minute, hour and day values as HJ 212 wants them, from readings in one pass.

A period begins at ``DataTime`` and is counted in Beijing time (HJ 212-2017, annex C.16 to C.18).
Least, mean and greatest are those of the normal readings only. The flag of a period: air is normal
if 75 % of its readings are, water only if all are (annex C, tables 16 to 18). A reading that a
period should have had and has not is counted as not normal, so a hole is said: flag B where what
is missing decides, else that of the commonest fault for water and D for air. A period without a
normal reading has a flag and no value.

Late readings change the period that they belong to. One that had been closed is then unsent again.
"""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Final

from protocols.uplink.hj212 import DAY_MS, HOUR_MS, Body, Item, data_time

from .codes import CODES, FLOW, RUNNING, PollutantCode, written
from .period import NORMAL, AggregatePeriod, CodeReading, PeriodCell, period_start

PERIOD_CODES: Final = ("2051", "2061", "2031", "2041")
EQUIPMENT_DAY: Final = "2041"
_FLOW_PERIODS: Final = 3  # a flow counts for loads so many of its periods around it (ours)
_AHEAD_MS: Final = HOUR_MS  # nothing is closed after now but with a clock that was ahead
MAX_EMPTY: Final = 2_000  # empty periods that one look closes; the next look goes on


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
        self._waiting: set[tuple[str, int]] = set()  # unsent at that time
        # Unsent, and only in the file: of each stream the first record behind it.
        self._away: dict[tuple[str, int], dict[int, int]] = {}
        self.undone: dict[str, int] = {}  # by kind: empty ones from then on are to be removed
        self.unknown = 0  # readings of codes that are not sent
        self._expected = dict(expected)
        self._earlier = earlier
        self.hour_reach = 1  # how many hours a reading counts in, with rolling means of a platform
        self._flow: CodeReading | None = None  # the newest, if it is normal

    def learn(self, code: PollutantCode, every_ms: int) -> None:
        """Send a code from now on, in its place among the others."""
        self._expected[code.code] = every_ms
        self.codes[code.code] = code
        self.codes = {name: self.codes[name] for name in CODES if name in self.codes}

    def length_at(self, cn: str, unix_ms: int) -> int:
        """Return how long the period of this kind is that a moment is in."""
        lengths = self.lengths[cn]
        if lengths[-1][0] <= unix_ms:
            return lengths[-1][1]
        return [length for since, length in lengths if since <= unix_ms][-1]

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
            self._flow = reading if reading.flag == NORMAL else None
        value, is_equipment = reading.value, code.is_equipment
        if is_equipment and value is not None:
            value = Decimal(int(value == RUNNING))
        for cn in self.lengths:
            if (cn == EQUIPMENT_DAY) != is_equipment:
                continue
            length = self.length_at(cn, reading.unix_ms)
            start = period_start(reading.unix_ms, length)
            self.closed_to.setdefault(cn, start)
            period = self._period(cn, start, length)
            cell = period.cells.get(code.code)
            if cell is None:
                cell = period.cells[code.code] = PeriodCell()
            # Of equipment `carried` is the time in which it ran.
            weight = Decimal(self.every(code.code)) if is_equipment else None
            cell.add(value, reading.flag, self._flow_of(reading) if code.has_total else weight)
            period.trace(reading.stream, reading.seq)
            if period.is_closed:
                period.revision += 1
                self._revise_after(cn, start)
            self.changed.add((cn, start))

    def _flow_of(self, reading: CodeReading) -> Decimal | None:
        """Return the flow that carried a reading; None if no flow was measured near it."""
        flow = self._flow
        if flow is None:
            return None
        age_ms = abs(reading.unix_ms - flow.unix_ms)
        return flow.value if age_ms <= _FLOW_PERIODS * self.every(FLOW) else None

    def _revise_after(self, cn: str, start: int) -> None:
        """Let closed hours be unsent again whose rolling means have this hour in them."""
        for later in range(start + HOUR_MS, start + self.hour_reach * HOUR_MS, HOUR_MS):
            period = self.find(cn, later) if cn == "2061" else None
            if period is not None and period.is_closed:
                period.revision += 1
                self._hold(period)
                self.changed.add((cn, later))

    def find(self, cn: str, start: int) -> AggregatePeriod | None:
        """Return a period, held or kept; None if there is none."""
        return self.periods.get((cn, start)) or self._earlier(cn, start)

    def _hold(self, period: AggregatePeriod) -> AggregatePeriod:
        key = period.cn, period.start_ms
        self._away.pop(key, None)
        self.periods[key] = period
        return period

    def mean(self, period: AggregatePeriod, code: str) -> Decimal | None:
        """Return the mean of a code in a period; None where its flag is not normal."""
        cell = period.cells.get(code)
        if cell is None or not cell.flags[NORMAL] or self.flag(period, code) != NORMAL:
            return None
        return cell.total / cell.flags[NORMAL]

    def _period(self, cn: str, start: int, length: int) -> AggregatePeriod:
        key = cn, start
        period = self.periods.get(key)
        if period is None:
            period = self._earlier(cn, start) or AggregatePeriod(cn, start, start + length)
            if period.end_ms <= self.closed_to[cn] and not period.is_closed:
                period.is_closed = True  # before the first that was ever closed
            self._hold(period)
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

    def undo_ahead(self, now_ms: int) -> bool:
        """Undo what a clock far ahead has closed; whether there was something.

        Periods to come that have no reading are forgotten, and the one of ``now_ms`` is open again.
        """
        found = [cn for cn, to in self.closed_to.items() if to > now_ms + _AHEAD_MS]
        for cn in found:
            first = period_start(now_ms, self.length_at(cn, now_ms))
            self.closed_to[cn] = self.undone[cn] = first
            empty = [key for key, period in self.periods.items() if not period.cells]
            empty += [key for key, records in self._away.items() if not records]
            for key in empty:
                if key[0] == cn and key[1] >= first:
                    self.periods.pop(key, None)
                    self._away.pop(key, None)
                    self._waiting.discard(key)
            period = self.find(cn, first)
            if period is not None and period.is_closed and period.cells:
                period.is_closed = False
                period.revision += 1  # what is on its way is not all of it
                self._hold(period)
                self.changed.add((cn, first))
        return bool(found)

    def take_changed(self) -> list[AggregatePeriod]:
        """Return what changed since the last call."""
        for key in self.changed:
            if self._is_unsent(key):
                self._waiting.add(key)
            else:
                self._waiting.discard(key)
        keys, self.changed = sorted(self.changed), set()
        return [self.periods[key] for key in keys if key in self.periods]

    def hold(self, period: AggregatePeriod) -> None:
        """Take up a period that was kept, open or unsent."""
        key = period.cn, period.start_ms
        self.periods[key] = period
        self._waiting.add(key)

    def _is_unsent(self, key: tuple[str, int]) -> bool:
        period = self.periods.get(key)
        return key in self._away or (period is not None and period.is_unsent)

    def _take_back(self, key: tuple[str, int]) -> AggregatePeriod:
        """Hold an unsent period; one that was put away is read."""
        if key not in self._away:
            return self.periods[key]
        period = self._earlier(*key)
        assert period is not None, "it was kept before it was put away"
        return self._hold(period)

    def put_away(self, most: int, flying: Container[tuple[str, int]]) -> None:
        """Hold about the ``most`` oldest unsent periods only; the others are read in their turn.

        To be called when everything that changed is kept. Those on their way are held.
        """
        if len(self._waiting) - len(self._away) <= 2 * most:
            return
        held = sorted((key for key in self._waiting if key in self.periods), key=_by_age)
        for key in held[most:]:
            period = self.periods[key]
            if period.is_unsent and key not in self.changed and key not in flying:
                firsts: dict[int, int] = {}
                for stream, first, _ in period.ranges:
                    firsts[stream] = min(first, firsts.get(stream, first))
                self._away[key] = firsts
                del self.periods[key]

    def unsent(self, besides: Container[str] = ()) -> Iterator[AggregatePeriod]:
        """Yield what is to be sent, the oldest first; ``besides``: no periods of these kinds."""
        waiting = self._waiting | self.changed
        keys = [key for key in waiting if key[0] not in besides and self._is_unsent(key)]
        for key in sorted(keys, key=_by_age):
            if self._is_unsent(key):
                yield self._take_back(key)

    def unsent_before(self, end_ms: int) -> list[AggregatePeriod]:
        """Return what is to be sent and ended before then, kind by kind, the oldest first."""
        keys = self._waiting | self.changed
        old = [key for key in keys if key[1] < end_ms and self._is_unsent(key)]
        found = [self._take_back(key) for key in sorted(old)]
        return [period for period in found if period.end_ms < end_ms]

    def unsent_since(self, cn: str, stream: int) -> int | None:
        """Return the first record of a stream behind unsent periods of a kind; None without any."""
        firsts = [
            first
            for key in self._waiting | self.changed
            if key[0] == cn and key not in self._away and self._is_unsent(key)
            for at, first, _ in self.periods[key].ranges
            if at == stream
        ]
        firsts += [of[stream] for key, of in self._away.items() if key[0] == cn and stream in of]
        return min(firsts, default=None)

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
            if (period.cn == EQUIPMENT_DAY) != code.is_equipment:
                continue
            cell = period.cells.get(code.code, PeriodCell())
            wire = name(code.code)
            item = [(f"{wire}-{part}", text) for part, text in self._values(period, code, cell)]
            flag = self.flag(period, code.code)
            is_always = flags == "always" and not code.is_equipment  # C.19 has no flag
            is_hole = flag != NORMAL and (flags == "abnormal" or code.is_equipment)
            if is_always or is_hole or not item:
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
        if code.is_equipment:  # hours in which it was seen running, C.19
            ran_ms = cell.carried
            if cell.carriers < normal:  # begun by a version that did not add it up
                ran_ms = cell.total * self.every(code.code)
            yield "RT", written(ran_ms / HOUR_MS, 1)
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


def _by_age(key: tuple[str, int]) -> tuple[int, str]:
    return key[1], key[0]


def lengths_of(sends: Iterable[str], minutes: int) -> dict[str, int]:
    """Return the kinds of period among the commands that are sent, with their lengths."""
    lengths = {"2051": minutes * 60_000, "2061": HOUR_MS, "2031": DAY_MS, EQUIPMENT_DAY: DAY_MS}
    return {cn: lengths[cn] for cn in PERIOD_CODES if cn in set(sends)}
