"""When each group of points of a device is read: groups have periods of their own.

A device is polled with its shortest period; a slower group takes part in the poll that is nearest
to its own time. A poll without an answer leaves its groups due, so the next one reads them. So
does, a few times, a poll in which a request of the group had none.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Final

RETRIES: Final = 3  # polls that read a slow group again, of which a request had no answer


class GroupClock:
    """The groups of one device. ``periods``: ms by group, "" for the points without one."""

    def __init__(self, periods: Mapping[str, int]) -> None:
        self.period_ms = min(periods.values())  # of the device's polls
        self._periods = dict(periods)
        self._all = tuple(periods)
        self._due: dict[str, int] = {}  # ms of the next time; absent: not read yet
        self._retried: dict[str, int] = {}

    def due(self, now_ms: int) -> tuple[str, ...]:
        """Return the groups that the poll of this moment reads, in the order of the profile."""
        if not self._due:
            return self._all
        latest = now_ms + self.period_ms // 2
        return tuple(
            name
            for name, period in self._periods.items()
            if period == self.period_ms or self._due.get(name, latest) <= latest
        )

    def was_read(
        self, groups: Iterable[str], now_ms: int, incomplete: Collection[str] = ()
    ) -> None:
        """Note that these groups were asked for and the device answered.

        ``incomplete``: the groups of which a request had no answer.
        """
        if len(self._all) == 1:
            return
        for name in groups:
            retried = self._retried.pop(name, 0)
            if name in incomplete and retried < RETRIES:
                self._retried[name] = retried + 1
                continue
            period = self._periods[name]
            due = self._due.get(name, now_ms) + period
            late = now_ms - due
            self._due[name] = due if late < 0 else due + (late // period + 1) * period
