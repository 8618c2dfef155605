"""Compares what a device has served with what the collector holds: stored once, or named exactly.

Nothing here asks the gateway. The device's log has the values and their times, the collector's
database has the values and the gaps, and the configured period says which polls were promised.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final

from .site import Account, PromiseSite

_START_MS: Final = 2000  # from the first slot of all to the first poll, on a busy machine
_MAX_TEXT: Final = 4000
_LATE_MS: Final = 200  # a poll begins in its own slot; its answer may come later by so much
#: Between the slots of these gaps there are values, so that only their number can be compared; so
#: there are where slots of several causes lie among each other.
_FOLDED: Final = frozenset({"bus_busy", "outbox_full"})


def check(site: PromiseSite, unit: int, period_ms: int) -> Account:
    """Assert that each slot of a unit is a value of its log, stored once, or named in a gap."""
    account = site.account(unit)
    begin_ms = site.device.asked[0][1]  # the slots of all units begin together
    found = violations(account, site.device.log[unit].times, begin_ms, period_ms)
    assert not found, "\n".join(found)
    return account


def violations(
    account: Account,
    times: Sequence[int],
    begin_ms: int,
    period_ms: int,
    lost: Account | None = None,
    forgets: bool = False,
) -> list[str]:
    """Return what breaks the promise for one unit, each in a sentence; empty if nothing does.

    ``times``: when the device served its values; ``begin_ms``: when the first slot was polled;
    ``lost``: what was in records that gaps name by their numbers; ``forgets``: the gateway has lost
    its memory of what it delivered, so that gaps may name a stored slot too, or name one twice.
    """
    values = account.values
    if not values:
        return ["no value is stored"]
    found = []
    if values != sorted(set(values)):
        found.append(f"a value is stored twice, or out of order: {_repeats(values)}")
    unknown = [index for index in values if index >= len(times)]
    if unknown:
        return [*found, f"values were never served: {unknown}"]
    if lost is not None:
        again = sorted(set(values) & set(lost.values))
        if again:
            found.append(f"values are stored, and a gap names their records: {again}")
        account = Account([*values, *lost.values], [*account.gaps, *lost.gaps])
        values = sorted(set(account.values))
    slot_at = _grid(account, times, period_ms)
    stored = [slot_at(times[index]) for index in sorted(set(values))]
    named, folded, after = _named(account, slot_at, period_ms, stored[-1], found)
    twice = sorted({slot for slot in named if named.count(slot) > 1})
    if twice and not forgets:
        found.append(f"slots are named twice: {twice}")
    late = 1 + _LATE_MS // period_ms
    own = _placed(stored, set())
    slots = _placed(stored, set() if forgets else set(named))
    found += _displaced(stored, own, slots, late)
    # The first poll may itself have come late, or its slot have passed before it came.
    polled = slot_at(begin_ms)
    dues = [slot_at(gap.from_ms) for gap in account.gaps if gap.from_ms is not None]
    begin = max(polled - _START_MS // period_ms, min(polled, own[0], *dues))
    if min(slots[0], *named, begin) < begin:
        found.append(f"slots before {begin} are named or stored, and none was promised")
    left = sorted(set(range(begin, stored[-1] + 1)) - set(slots) - set(named))
    if len(left) > folded or (len(left) < folded - after and not forgets):
        found.append(f"slots {left} are neither stored nor named, and gaps name {folded} such")
    if found:
        about = f"stored in {stored}, named {sorted(named)}, gaps {account.gaps}"
        found.append(about[-_MAX_TEXT:])
    return found


def _repeats(values: Sequence[int]) -> list[int]:
    return [after for before, after in pairwise(values) if after <= before]


def _named(
    account: Account,
    slot_at: Callable[[int], int],
    period_ms: int,
    end: int,
    found: list[str],
) -> tuple[list[int], int, int]:
    """Return the slots that gaps name one by one, and how many others they count.

    Of these some may come after ``end``, the last slot that is looked at: at most the third number.
    """
    named: list[int] = []
    folded = after = 0
    for gap in account.gaps:
        if gap.slots is None or gap.from_ms is None or gap.to_ms is None:
            found.append(f"a gap has no exact count: {gap}")
            continue
        first, last = slot_at(gap.from_ms), slot_at(gap.to_ms)
        if first > end:
            continue
        span = last - first + 1
        if gap.slots > span or (gap.to_ms - gap.from_ms) % period_ms:
            found.append(f"a gap's count does not fit its times: {gap}")
        if gap.cause in _FOLDED or gap.slots < span:
            folded += gap.slots
            after += max(0, last - end)
            continue
        named += range(first, last + 1)
    return named, folded, after


def _placed(moments: Sequence[int], named: set[int]) -> list[int]:
    """Give each value a slot of its own, at its moment or before, that is not among ``named``."""
    slots: list[int] = []
    following = moments[-1] + 1
    for moment in reversed(moments):
        following = min(moment, following - 1)
        while following in named:
            following -= 1
        slots.append(following)
    return slots[::-1]


def _displaced(
    moments: Sequence[int], own: Sequence[int], slots: Sequence[int], late: int
) -> list[str]:
    """Find values whose slots gaps name: such a value can only be one that came late, and alone."""
    found = []
    run = 0
    for moment, without, slot in zip(moments, own, slots, strict=True):
        run = run + 1 if slot < without else 0
        if run > late or (slot < without and slot < moment - late):
            found.append(f"the value of slot {moment} is stored, and a gap names that slot")
    return found


def _grid(account: Account, times: Sequence[int], period_ms: int) -> Callable[[int], int]:
    """Return the slot of a moment; nothing is served before its slot is due.

    A gap has the times at which its slots were due. Without one, most values are served soon after
    their slots were due, and some later, so the slots begin where in a period values are rarest:
    after the longest part of it without any.
    """
    dues = [gap.from_ms for gap in account.gaps if gap.from_ms is not None]
    if dues:
        begin = dues[-1] - period_ms // 10
    else:
        phases = sorted({moment % period_ms for moment in times})
        before = [phases[-1] - period_ms, *phases]
        empty, phase = max(
            (phase - last, phase) for last, phase in zip(before, phases, strict=False)
        )
        begin = phase - min(empty // 2, period_ms // 10)
    return lambda moment: (moment - begin) // period_ms
