"""Keeps the slots of a device across restarts and stalls, whether it is polled or pushes.

A :class:`~.slot_account.SlotAccount` counts; here its figures go into marks and come back from
them, and slots that passed are given the cause of the agent's own stall where there was one.
"""

from typing import Final

from gateway_agent.clock import GatewayClock
from gateway_agent.store.mark import Mark, SlotMark

from .heartbeat import Heartbeat
from .slot_account import SlotAccount, counted, resume

_OFFSET_MS: Final = 1000  # wall time is read at most so often for marks
_NOT_READ: Final = Mark(0, 0, 0)  # of a node without a sample, and of every third-party device


class SlotKeeper:
    """Keeps the slots of the devices of one bus or link."""

    def __init__(self, clock: GatewayClock, heartbeat: Heartbeat) -> None:
        self._clock = clock
        self._heartbeat = heartbeat
        self._wall, self._wall_at = clock.wall(), clock.boot_ms()

    def resume(
        self,
        account: SlotAccount,
        mark: Mark | None,
        period_ms: int,
        cause: str = "gateway_down",
    ) -> int:
        """Note what was missed since ``mark``; return the first slot that can still be served.

        ``cause``: why nobody polled since then.
        """
        now_ms = self._clock.boot_ms()
        if mark is None or mark.slots is None:
            return now_ms
        boot_id, wall = self._clock.boot_id, self._clock.wall()
        going_on = resume(mark.slots, boot_id, period_ms, now_ms, wall, cause)
        account.restore(going_on.missed, now_ms)
        account.outage = going_on.outage
        return going_on.due_ms

    def mark(self, node: Mark | None, due_ms: int, period_ms: int, account: SlotAccount) -> Mark:
        """Return the mark of a device: how far ``node`` was read, and what is not in a gap yet.

        ``due_ms``: the first slot that is not accounted for.
        """
        now_ms = self._clock.boot_ms()
        if now_ms - self._wall_at >= _OFFSET_MS:
            self._wall, self._wall_at = self._clock.wall(), now_ms
        wall_ms, unc_ms, _ = self._wall
        if wall_ms is not None:
            wall_ms += due_ms - self._wall_at
        missed = account.marked() if account else ()
        boot_id, outage = self._clock.boot_id, account.outage
        slots = SlotMark(boot_id, due_ms, period_ms, wall_ms, unc_ms, missed, outage)
        return Mark(*(node or _NOT_READ)[:4], slots)

    def note_passed(
        self,
        account: SlotAccount,
        first_ms: int,
        period_ms: int,
        passed: int,
        why: tuple[str, str],
        now_ms: int,
    ) -> None:
        """Note that ``passed`` slots from ``first_ms`` on brought nothing; ``why``: cause, detail.

        Those in which the agent did not run are its own fault.
        """
        cause, detail = why
        stall = self._heartbeat.stall(now_ms)
        lost = range(0) if stall is None else stall.slots(first_ms, period_ms, passed)
        if stall is None or not lost:
            last_ms = first_ms + (passed - 1) * period_ms
            account.skip(cause, detail, passed, first_ms, last_ms, now_ms)
            return
        text = f"the agent did not run for {(stall.to_ms - stall.from_ms) / 1000:.1f} s"
        spans = [
            (range(lost.start), cause, detail),
            (lost, "gateway_down", text),
            (range(lost.stop, passed), cause, detail),
        ]
        for span, cause, detail in spans:
            begin, end = first_ms + span.start * period_ms, first_ms + (span.stop - 1) * period_ms
            account.skip(cause, detail, len(span), begin, end, now_ms)

    def count_outage(self, account: SlotAccount) -> None:
        """Count the slots of an outage before this boot, as soon as the clock is set."""
        outage, wall = account.outage, self._clock.wall()
        if outage is None or wall.wall_ms is None:
            return
        account.outage = None
        now_ms = self._clock.boot_ms()
        missed = counted(outage, now_ms, wall)
        if missed is not None:
            account.restore([missed], now_ms)
