"""Notices that the process did not run: stopped, starved, or on a machine that slept.

Slots that pass meanwhile are lost to the gateway and not to a busy bus.
"""

import asyncio
from typing import Final, NamedTuple, NoReturn

from gateway_agent.cancellation import raise_if_cancelled
from gateway_agent.clock import GatewayClock

BEAT_MS: Final = 250
STALL_MS: Final = 1000  # a beat that comes later than this was held up


class Stall(NamedTuple):
    """The process did not run from ``from_ms`` to ``to_ms`` (CLOCK_BOOTTIME)."""

    from_ms: int
    to_ms: int

    def slots(self, first_ms: int, period_ms: int, count: int) -> range:
        """Return which of ``count`` slots from ``first_ms`` on fell due in it, by index."""
        begin = min(count, max(0, -(-(self.from_ms - first_ms) // period_ms)))
        end = min(count, (self.to_ms - first_ms) // period_ms + 1)
        return range(begin, max(begin, end))


class Heartbeat:
    """Run :meth:`run` beside the pollers in the same event loop."""

    def __init__(self, clock: GatewayClock) -> None:
        self._clock = clock
        self._beat_ms = clock.boot_ms()
        self._stall: Stall | None = None

    async def run(self) -> NoReturn:
        """Beat for ever."""
        self._beat_ms = self._clock.boot_ms()
        while True:
            raise_if_cancelled()
            await asyncio.sleep(BEAT_MS / 1000)
            now_ms = self._clock.boot_ms()
            self._stall = self.stall(now_ms)
            self._beat_ms = now_ms

    def stall(self, now_ms: int) -> Stall | None:
        """Return the newest stall, None if there was none."""
        if now_ms - self._beat_ms > STALL_MS:
            # The process runs again, and this task was not called yet.
            return Stall(self._beat_ms, now_ms)
        return self._stall
