"""Deadlines in a board's time, so that a slow host is not taken for a slow node.

The time of an emulated board is not the host's: an emulator with a clock of its own may run at a
tenth of real time, and one that follows the host's clock stands still whenever the host has no CPU
for it. A :class:`Deadline` counts the board's time. When the host needed so much longer that
waiting on makes no sense, it raises HostTooSlow: that proves nothing about the node.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from hil.errors import HostTooSlow

#: A board this many times slower than the host's clock is not waited for.
PATIENCE: Final = 20.0
#: Below this many seconds of the host no host counts as too slow.
LEAST_HOST_S: Final = 5.0
_LOOK_S: Final = 0.05
#: Between two questions how far the board lags.
_ASK_S: Final = 2.0

#: Seconds of a board's own clock.
Clock = Callable[[], float]
#: Seconds that a board has had less than the host.
Lag = Callable[[], Awaitable[float]]


class Deadline:
    """``limit_s`` seconds of the board from now.

    ``clock`` is the board's own, or None where the board follows the host's. Then what this
    process's timers are late is taken off: a host that is late with them is as late with the
    emulators. ``patience`` bounds the host's time: ``limit_s`` times that, at least
    ``LEAST_HOST_S``. ``lag`` is asked now and then, and what the board has had
    less than the host is taken off, too.
    """

    def __init__(
        self,
        limit_s: float,
        clock: Clock | None = None,
        *,
        patience: float = PATIENCE,
        lag: Lag | None = None,
    ) -> None:
        self.limit_s = limit_s
        self._clock = clock
        self._lag = lag
        self._start = (clock or time.monotonic)()
        self._host_start = time.monotonic()
        self._host_limit_s = max(limit_s * patience, LEAST_HOST_S)
        self._late_s = 0.0
        self._lag_s = 0.0
        self._asked_s = 0.0

    def elapsed_s(self) -> float:
        """Return the seconds of the board since it was made."""
        if self._clock is not None:
            return self._clock() - self._start
        return self.host_s() - max(self._late_s, self._lag_s)

    def host_s(self) -> float:
        """Return the seconds of the host since it was made."""
        return time.monotonic() - self._host_start

    def speed(self) -> float:
        """Return the seconds of the board for one of the host, measured since it was made."""
        return self.elapsed_s() / max(self.host_s(), 1e-9)

    def left_s(self) -> float:
        """Return the seconds of the board that are left, 0 when it is over. HostTooSlow."""
        left = self.limit_s - self.elapsed_s()
        if left > 0 and self.host_s() > self._host_limit_s:
            raise HostTooSlow(
                f"after {self.host_s():.1f} s of the host only {self.elapsed_s():.2f} of "
                f"{self.limit_s:g} s of the board have passed ({self.speed():.2f} times real "
                "time): run fewer boards at once, or on a host with more free CPUs"
            )
        return max(0.0, left)

    def over(self) -> bool:
        """Return True when no time is left. HostTooSlow."""
        return self.left_s() == 0

    async def expired(self) -> bool:
        """Return True when no time is left and the board has had as much. HostTooSlow."""
        if self.over():
            await self._ask_lag()
        return self.over()

    async def _ask_lag(self) -> None:
        # A node that resets itself meanwhile begins to count anew.
        if self._lag is not None:
            self._lag_s = max(self._lag_s, await self._lag())
            self._asked_s = self.host_s()

    async def look(self, event: asyncio.Event | None = None) -> None:
        """Wait a moment, or until ``event`` is set if that comes first."""
        if self.host_s() - self._asked_s > _ASK_S:
            await self._ask_lag()
        moment = min(_LOOK_S, max(self.left_s(), 0.001))
        begun = time.monotonic()
        if event is None:
            await asyncio.sleep(moment)
        else:
            try:
                await asyncio.wait_for(event.wait(), moment)
            except TimeoutError:
                pass
            else:
                return
        self._late_s += max(0.0, time.monotonic() - begun - moment)

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until ``condition()``. TimeoutError that names ``what``; HostTooSlow."""
        while not condition():
            if await self.expired():
                raise TimeoutError(
                    f"expected {what} within {self.limit_s:g} s of the board, it did not happen "
                    f"({self.host_s():.1f} s of the host)"
                )
            await self.look()
