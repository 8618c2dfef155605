"""Accounts for every poll that the period of one device promises: answered, or missed for a cause.

The polls of a device are due one period apart; each is a *slot*. What was missed is kept by cause
until it is named in gaps, and is in the device's mark meanwhile, so that a crash of the process
loses neither number nor cause. No I/O; times are CLOCK_BOOTTIME in ms.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from gateway_agent.clock import Wall
from gateway_agent.store.mark import MissedSlots, SlotMark, UncountedOutage
from protocols.uplink import MAX_DETAIL_LENGTH, Gap

from .maintenance import Maintenance

NOTICE_MS: Final = 60_000  # what is missed is in a gap after this time at the latest;
NOTICE_MAX_MS: Final = 3_600_000  # a device that stays away, after twice as long each time
# Of these a device that answers in between gives no sign that they are over, so they are folded
# into one gap per NOTICE_MS.
_FOLDED: Final = frozenset({"bus_busy", "operator", "outbox_full"})
_BEFORE: Final = "noted before the agent ended"
_DETAILS: Final = {
    "gateway_down": "the gateway was not running",
    "operator": "a technician on site had the bus, or its configuration was changed",
}


def gap(
    cause: str,
    epoch: int | None,
    first: int | None,
    last: int | None,
    detail: str,
    slots: MissedSlots | None = None,
) -> Gap:
    """Return a gap with its detail cut to what a record can carry."""
    polls = () if slots is None else slots[1:]
    return Gap(cause, epoch, first, last, detail[:MAX_DETAIL_LENGTH], *polls)


class _Run:
    """Slots missed for one cause."""

    __slots__ = ("detail", "from_ms", "slots", "to_ms")

    def __init__(self, slots: int | None, from_ms: int | None, to_ms: int | None) -> None:
        self.slots = slots
        self.from_ms = from_ms
        self.to_ms = to_ms
        self.detail = ""


class Named(NamedTuple):
    """Missed slots of one cause, to be named in a gap, with a text for people."""

    missed: MissedSlots
    detail: str


class SlotAccount:
    """The slots of one device since the start of the process.

    ``answered``: brought data. ``missed``: did not. Of these ``named`` are in gaps, ``excused``
    cost nothing, as the sequence of a node shows, and ``pending`` are neither yet. ``earlier``:
    missed before this process began to poll.
    """

    def __init__(self) -> None:
        self.answered = 0
        self.missed = 0
        self.earlier = 0
        self.named = 0
        self.excused = 0
        self.is_failing = False  # a device that answers now ends what is pending
        self.outage: UncountedOutage | None = None
        self.work: Maintenance | None = None  # that somebody does on the device
        self._slot: int | None = None  # the one that is polled now
        self._runs: dict[str, _Run] = {}
        self._notice_at: int | None = None
        self._notice_wait = NOTICE_MS

    def __bool__(self) -> bool:
        return bool(self._runs)

    # --- the slot that is polled now ---------------------------------------------------------

    def begin(self, due_ms: int) -> None:
        """Note that the slot due at ``due_ms`` is polled now: one answer or note follows."""
        self._slot = due_ms

    def answer(self) -> None:
        """Note that the slot brought data."""
        if self._slot is not None:
            self._slot = None
            self.answered += 1
            self._notice_wait = NOTICE_MS

    def note(self, cause: str, detail: str, now_ms: int) -> None:
        """Note that the slot brought no data; a second note about one slot counts nothing."""
        due, self._slot = self._slot, None
        if due is not None:
            self.skip(cause, detail, 1, due, due, now_ms)

    def take_back(self) -> bool:
        """Forget the slot that was begun; return whether it had no outcome yet."""
        slot, self._slot = self._slot, None
        return slot is not None

    @property
    def is_open(self) -> bool:
        """Return whether the slot that was begun has no outcome yet."""
        return self._slot is not None

    # --- others ------------------------------------------------------------------------------

    def skip(
        self,
        cause: str,
        detail: str,
        slots: int | None,
        from_ms: int | None,
        to_ms: int | None,
        now_ms: int,
    ) -> None:
        """Note ``slots`` slots that brought no data (None: not known how many)."""
        if slots == 0:
            return
        if self.work is not None and self.work.explains(cause, now_ms):
            cause, detail = "operator", f"{self.work.by} works on it: {detail}"
        self.missed += slots or 0
        self._add(cause, slots, from_ms, to_ms, detail, now_ms)

    def restore(self, missed: Iterable[MissedSlots], now_ms: int) -> None:
        """Take over what was missed before this process began to poll and is in no gap yet."""
        for item in missed:
            self.missed += item.slots or 0
            self.earlier += item.slots or 0
            self._add(*item, _DETAILS.get(item.cause, _BEFORE), now_ms)

    def _add(
        self,
        cause: str,
        slots: int | None,
        from_ms: int | None,
        to_ms: int | None,
        detail: str,
        now_ms: int,
    ) -> None:
        if self._notice_at is None:
            self._notice_at = now_ms + self._notice_wait
        if cause not in _FOLDED:
            self.is_failing = True
        run = self._runs.get(cause)
        if run is None:
            run = self._runs[cause] = _Run(slots, from_ms, to_ms)
        elif slots is not None:
            run.slots = (run.slots or 0) + slots
            if run.from_ms is None:
                run.from_ms = from_ms
            if to_ms is not None:
                run.to_ms = to_ms
        run.detail = detail

    # --- what is pending ---------------------------------------------------------------------

    @property
    def pending(self) -> int:
        """Return how many missed slots are in no gap yet."""
        return sum(run.slots or 0 for run in self._runs.values())

    @property
    def cause(self) -> str:
        """Return the cause of most of what is pending; a fault of the device goes before others."""
        runs = self._runs
        failed = [cause for cause in runs if cause not in _FOLDED]
        return max(failed or runs, key=lambda cause: runs[cause].slots or 0)

    def describe(self) -> str:
        """Return for people: how many slots, for how long, the causes, details of the main one."""
        total, runs = self.total(), self._runs
        counts = ", ".join(f"{cause} {run.slots or '?'}" for cause, run in runs.items())
        return f"{_polls(total)}: {counts}; {runs[self.cause].detail}"

    def total(self) -> MissedSlots:
        """Return everything pending as one, under its main cause."""
        runs = self._runs.values()
        begins = [run.from_ms for run in runs if run.from_ms is not None]
        ends = [run.to_ms for run in runs if run.to_ms is not None]
        times = (min(begins), max(ends)) if begins and ends else (None, None)
        return MissedSlots(self.cause, self.pending or None, *times)

    def marked(self) -> tuple[MissedSlots, ...]:
        """Return everything pending, for the device's mark."""
        found = [
            MissedSlots(cause, run.slots, run.from_ms, run.to_ms)
            for cause, run in self._runs.items()
        ]
        return tuple(found)  # of a list: half the time of a generator, once for each mark

    # --- naming ------------------------------------------------------------------------------

    def notice_due(self, now_ms: int) -> bool:
        """Return whether something is pending for so long that it must be named now."""
        return self._notice_at is not None and now_ms >= self._notice_at

    def take(self) -> list[Named]:
        """Return everything pending by cause, to be named in gaps now."""
        if self.is_failing:
            self._notice_wait = min(2 * self._notice_wait, NOTICE_MAX_MS)
        self.named += self.pending
        return self._taken()

    def over(self) -> None:
        """Note that nothing is missing: what is pending is excused."""
        if self._notice_at is not None:
            self.excused += self.pending
            self._taken()

    def name_all(self) -> None:
        """Note that everything pending is named in a gap."""
        self.named += self.pending
        self._taken()

    def _taken(self) -> list[Named]:
        found = []
        for item, run in zip(self.marked(), self._runs.values(), strict=True):
            found.append(Named(item, f"{_polls(item)}: {run.detail}"))
        self._runs.clear()
        self._notice_at = None
        self.is_failing = False
        return found


def _polls(missed: MissedSlots) -> str:
    count = "polls, it is not known how many" if missed.slots is None else f"{missed.slots} polls"
    if missed.from_ms is None or missed.to_ms is None:
        return count
    return f"{count} in {(missed.to_ms - missed.from_ms) / 1000:.1f} s"


class Resumed(NamedTuple):
    """How the slots of a device go on after a mark: ``due_ms`` is the next one."""

    due_ms: int
    missed: tuple[MissedSlots, ...]
    outage: UncountedOutage | None


def resume(
    mark: SlotMark,
    boot_id: bytes,
    period_ms: int,
    now_ms: int,
    wall: Wall,
    cause: str = "gateway_down",
) -> Resumed:
    """Continue the slots of ``mark`` at ``now_ms``; what passed meanwhile is missed.

    The grid of the slots goes on: by the boot clock in the same boot, by wall time in a later one.
    Without wall time the number of slots is not known; it follows with :func:`counted`.
    """
    if not mark.period_ms:
        return Resumed(now_ms, mark.missed, None)
    if mark.boot_id == boot_id:
        due_ms, missed, outage = mark.due_ms, mark.missed, mark.outage
    elif mark.wall_ms is not None and wall.wall_ms is not None:
        due_ms = now_ms - (wall.wall_ms - mark.wall_ms)
        shift = due_ms - mark.due_ms
        missed, outage = tuple(_shifted(item, shift) for item in mark.missed), None
    else:
        missed = tuple(item._replace(from_ms=None, to_ms=None) for item in mark.missed)
        missed += (MissedSlots("gateway_down", None, None, None),)
        if mark.wall_ms is None:
            return Resumed(now_ms, missed, None)
        hole = UncountedOutage(mark.wall_ms, mark.unc_ms, mark.period_ms, now_ms)
        return Resumed(now_ms, missed, hole)
    passed = max(0, now_ms - due_ms) // mark.period_ms
    if passed:
        last = due_ms + (passed - 1) * mark.period_ms
        missed += (MissedSlots(cause, passed, due_ms, last),)
    # A period that was made shorter holds from now on.
    due_ms = min(due_ms + passed * mark.period_ms, now_ms + period_ms)
    return Resumed(due_ms, missed, outage)


def counted(outage: UncountedOutage, now_ms: int, wall: Wall) -> MissedSlots | None:
    """Return the slots of an outage, now that the clock is set; None: it is not, or there are none.

    Call it with wall time only.
    """
    assert wall.wall_ms is not None
    begin = now_ms - (wall.wall_ms - outage.wall_ms)
    slots = max(0, outage.to_ms - begin) // outage.period_ms
    if not slots:
        return None
    return MissedSlots("gateway_down", slots, begin, begin + (slots - 1) * outage.period_ms)


def _shifted(item: MissedSlots, shift: int) -> MissedSlots:
    if item.from_ms is None or item.to_ms is None:
        return item
    return item._replace(from_ms=item.from_ms + shift, to_ms=item.to_ms + shift)
