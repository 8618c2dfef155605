"""When each device of one bus is asked: the earliest deadline first. No I/O, no clock; in ms.

Slots lie at whole multiples of the period after the first, so lateness never adds up. The first
slot of a new device is when the bus gets to it, so devices that begin together do not fall due
together for ever. A slot that passes while the bus is busy is skipped and counted. A device that
stays silent leaves the schedule. It gets cheap probes with growing waits between them. All probes
of a bus together take at most a tenth of its time, so the other devices keep their slots.
"""

import heapq
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

QUARANTINE_AFTER: Final = 3  # polls without any answer
PROBE_MIN_MS: Final = 1_000  # first wait between probes (or the period, if longer)
PROBE_MAX_MS: Final = 60_000
_NEVER: Final = 1 << 62
PROBE_SHARE: Final = 10  # a failed probe is followed by nine times its duration without one


class Slot(Struct):
    """One device's place in the schedule."""

    period: int
    first: int  # ms of the first slot
    due: int  # ms of the next slot; stays on the grid while quarantined
    is_new: bool = False  # the first poll is still to come, and no slot was promised before
    failures: int = 0
    skipped: int = 0
    quarantined: bool = False
    probe_at: int = 0
    probe_wait: int = 0

    @property
    def passed(self) -> int:
        """Return how many slots are over: polled, skipped or lost to quarantine."""
        return (self.due - self.first) // self.period


class PollSchedule:
    """Slots by the device's index on its bus; a device that goes on brings the slot it had."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self.slots = list(slots)
        # Heaps of (time, index): a bus may have hundreds, and looks for the first after each poll.
        # An entry whose slot has moved on is stale; each move enters another one.
        self._due = sorted((slot.due, index) for index, slot in enumerate(self.slots))
        self._ready: list[tuple[int, int]] = []  # of those that are due: when the slot is over
        self._quarantined = [index for index, slot in enumerate(self.slots) if slot.quarantined]
        self._next_probe = self._due[0][0]

    def next(self, now: int) -> tuple[int, bool, int]:
        """Return (index, is it a probe, ms to wait first).

        Of the devices that are due that one goes first whose slot is over first, so a device that
        is asked often is not held up by many that have time. A device that is due goes before a
        probe.
        """
        when, best = self._earliest(now)
        if self._quarantined:
            probe = min(self._quarantined, key=self._probe_at)
            probe_when = self._probe_at(probe)
            # A probe that is late by as much as its own wait goes before polls.
            overdue = probe_when + self.slots[probe].probe_wait <= now
            if (when > now and probe_when < when) or overdue:
                return probe, True, max(0, probe_when - now)
        return best, False, max(0, when - now)

    def _earliest(self, now: int) -> tuple[int, int]:
        """Return when the next device is due, and its index."""
        due, ready, slots = self._due, self._ready, self.slots
        while due and due[0][0] <= now:
            when, index = heapq.heappop(due)
            slot = slots[index]
            if slot.due == when and not slot.quarantined:
                heapq.heappush(ready, (when + slot.period, index))
        while ready:
            over, index = ready[0]
            slot = slots[index]
            if slot.due + slot.period == over and not slot.quarantined:
                return slot.due, index
            heapq.heappop(ready)
        while due and (slots[due[0][1]].due != due[0][0] or slots[due[0][1]].quarantined):
            heapq.heappop(due)
        return due[0] if due else (_NEVER, -1)

    def _probe_at(self, index: int) -> int:
        return max(self.slots[index].probe_at, self._next_probe)

    def polled(self, index: int, now: int, silent: bool) -> int:
        """Note that a poll has ended; return how many slots were skipped.

        ``silent``: there was no answer of any kind.
        """
        slot = self.slots[index]
        slot.failures = slot.failures + 1 if silent else 0
        slot.due += slot.period
        slot.skipped += (skipped := self._catch_up(slot, now))
        heapq.heappush(self._due, (slot.due, index))
        if slot.failures >= QUARANTINE_AFTER:
            slot.probe_wait = max(slot.period, PROBE_MIN_MS)
            slot.probe_at = now + slot.probe_wait
            self._quarantine(slot, True)
        return skipped

    def probed(self, index: int, now: int, took: int, silent: bool) -> int:
        """Note that a probe has ended; return how many slots passed since the last poll or probe.

        If it was answered the device is due at once, in its old grid: probes are at least a period
        apart, so a slot has passed.
        """
        slot = self.slots[index]
        passed = self._catch_up(slot, now)
        if silent:
            slot.probe_wait = min(2 * slot.probe_wait, max(PROBE_MAX_MS, slot.period))
            slot.probe_at = now + slot.probe_wait
            self._next_probe = now + (PROBE_SHARE - 1) * took
        else:
            slot.failures = 0
            self._quarantine(slot, False)
            heapq.heappush(self._due, (slot.due, index))
        return passed

    def overtaken(self, index: int, now: int) -> int:
        """Skip the slots that a later one has overtaken before they were polled; return how many.

        Called before each poll, so that a reading is never taken for a slot a period ago.
        """
        slot = self.slots[index]
        skipped = self._catch_up(slot, now)
        if slot.is_new and not skipped:
            slot.first = slot.due = now
        if skipped or slot.is_new:
            slot.skipped += skipped
            heapq.heappush(self._due, (slot.due, index))
        slot.is_new = False
        return skipped

    @staticmethod
    def _catch_up(slot: Slot, now: int) -> int:
        """Skip the slots that a later due slot has overtaken; return how many."""
        late = now - slot.due
        if late < slot.period:
            return 0
        skipped = late // slot.period
        slot.due += skipped * slot.period
        return skipped

    def _quarantine(self, slot: Slot, quarantined: bool) -> None:
        slot.quarantined = quarantined
        self._quarantined = [index for index, one in enumerate(self.slots) if one.quarantined]
