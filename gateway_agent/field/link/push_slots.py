"""The slots of a node that pushes: its own sample period promises one sample in each.

A polled device is asked at each slot; here a slot is a span of time in which a sample must arrive.
The grid follows the arrivals, so that they fall into the middle of a slot and jitter costs nothing.
What arrives late is no loss: the sequence of the samples excuses its slot (:class:`SlotAccount`).
No I/O; times are CLOCK_BOOTTIME in ms.
"""

from gateway_agent.field.slot_account import SlotAccount
from gateway_agent.field.slot_keeper import SlotKeeper


class PushSlots:
    """The slots of one node; ``due_ms`` is the first one."""

    def __init__(
        self, account: SlotAccount, keeper: SlotKeeper, period_ms: int, due_ms: int
    ) -> None:
        self.period_ms = period_ms
        self.passed = 0
        self._account = account
        self._keeper = keeper
        self._begin_ms = due_ms
        account.begin(due_ms)

    @property
    def end_ms(self) -> int:
        """Return when the slot of now ends."""
        return self._begin_ms + self.period_ms

    @property
    def due_ms(self) -> int:
        """Return the first slot that is not accounted for, for the mark."""
        return self._begin_ms if self._account.is_open else self.end_ms

    def advance(self, why: tuple[str, str], now_ms: int) -> int:
        """Note the slots that are over and brought nothing, for ``why``; return how many."""
        over = (now_ms - self._begin_ms) // self.period_ms
        if over <= 0:
            return 0
        missed, first_ms = over, self._begin_ms
        if not self._account.take_back():
            missed, first_ms = over - 1, self.end_ms
        if missed:
            self._keeper.note_passed(self._account, first_ms, self.period_ms, missed, why, now_ms)
        self.passed += over
        self._begin_ms += over * self.period_ms
        self._account.begin(self._begin_ms)
        return missed

    def arrived(self, now_ms: int) -> None:
        """Note that a sample arrived that was taken just now: others are due a period later."""
        off = now_ms - (self._begin_ms + self.period_ms // 2)
        if abs(off) > self.period_ms // 4:
            self._move(self._begin_ms + off)

    def set_period(self, period_ms: int, now_ms: int) -> None:
        """Go on with another period, from now on."""
        if period_ms != self.period_ms:
            self.period_ms = period_ms
            self._move(now_ms)

    def _move(self, begin_ms: int) -> None:
        self._begin_ms = begin_ms
        if self._account.take_back():
            self._account.begin(begin_ms)

    @property
    def unaccounted(self) -> int:
        """Compare the slots that are over with what was answered or missed."""
        account = self._account
        over = self.passed + (not account.is_open)
        schedule = abs(over - account.answered - account.missed + account.earlier)
        return schedule + abs(account.missed - account.named - account.excused - account.pending)
