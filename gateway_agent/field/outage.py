"""Failures of one device since its last good answer, collected until they become one gap."""

from collections import Counter
from typing import Final

from protocols.uplink import MAX_DETAIL_LENGTH, Gap

NOTICE_MS: Final = 60_000  # a device that stays away is reported after this time,
NOTICE_MAX_MS: Final = 3_600_000  # then after twice as long, up to this


def gap(cause: str, epoch: int | None, first: int | None, last: int | None, detail: str) -> Gap:
    """Return a gap with its detail cut to what a record can carry."""
    return Gap(cause, epoch, first, last, detail[:MAX_DETAIL_LENGTH])


class Outage:
    """Failures of one device, coalesced. Times are CLOCK_BOOTTIME in ms."""

    def __init__(self) -> None:
        self._causes: Counter[str] = Counter()
        self._detail: dict[str, str] = {}
        self._missed = 0
        self._since = 0
        self._until = 0
        self._notice_at = 0
        self._notice_wait = NOTICE_MS

    def __bool__(self) -> bool:
        return bool(self._causes)

    @property
    def missed(self) -> int:
        """Return the number of polls without data since the last good one or the last notice."""
        return self._missed

    def note(self, cause: str, detail: str, now_ms: int, slots: int = 1) -> None:
        """Note that ``slots`` polls gave no data."""
        if not self._causes:
            self._since = now_ms
            if not self._notice_at:
                self._notice_at = now_ms + self._notice_wait
        self._causes[cause] += slots
        self._detail[cause] = detail
        self._missed += slots
        self._until = now_ms

    @property
    def cause(self) -> str:
        """Return the most frequent cause."""
        return self._causes.most_common(1)[0][0]

    def describe(self) -> str:
        """Return for people: how many polls, for how long, the causes, details of the main one."""
        counts = ", ".join(f"{name} {count}" for name, count in self._causes.most_common())
        seconds = (self._until - self._since) / 1000
        return f"{self._missed} polls in {seconds:.1f} s: {counts}; {self._detail[self.cause]}"

    def notice_due(self, now_ms: int) -> bool:
        """Return whether it has lasted so long that it must be reported before it ends."""
        return bool(self._causes) and now_ms >= self._notice_at

    def noticed(self, now_ms: int) -> None:
        """Note that it was reported up to now."""
        self._notice_wait = min(2 * self._notice_wait, NOTICE_MAX_MS)
        self._notice_at = now_ms + self._notice_wait
        self._clear()

    def over(self) -> None:
        """Note that the device answers again."""
        self._clear()
        self._notice_at = 0
        self._notice_wait = NOTICE_MS

    def _clear(self) -> None:
        self._causes.clear()
        self._detail.clear()
        self._missed = 0
