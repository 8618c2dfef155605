"""An exporter may send so many records and bytes a second, and no more on average."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

_BURST_S: Final = 2.0  # what was not used of so many seconds may be sent at once


class _Bucket:
    """Fills at ``rate`` a second; what is taken may leave it below zero, and is waited for."""

    def __init__(self, rate: int | None, now: float) -> None:
        self._rate = rate
        self._level = 0.0 if rate is None else rate * _BURST_S
        self._at = now

    def take(self, amount: int, now: float) -> float:
        """Take ``amount``; return the seconds to wait before it may be sent."""
        if self._rate is None:
            return 0.0
        filled = self._level + (now - self._at) * self._rate
        self._level = min(filled, self._rate * _BURST_S) - amount
        self._at = now
        return max(0.0, -self._level / self._rate)


class Budget:
    """Holds up a sender that would exceed its rates; None: no limit."""

    def __init__(
        self,
        records_per_s: int | None,
        bytes_per_s: int | None,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._records = _Bucket(records_per_s, clock())
        self._bytes = _Bucket(bytes_per_s, clock())

    async def spend(self, records: int, size: int) -> None:
        """Return when so many records in so many bytes may be sent."""
        now = self._clock()
        wait_s = max(self._records.take(records, now), self._bytes.take(size, now))
        if wait_s > 0:
            await self._sleep(wait_s)
