"""Waits for the silence that a serial line needs before a request, and not longer.

t3.5 counts from the last byte, so what the gateway does with an answer meanwhile costs the line
nothing. An event loop's own timers are good to a millisecond, half of t3.5 at 19200 baud. So a
finer one wakes the task ``LEAD_S`` early, the request is made ready, and what is left then is spent
looking at the clock.
"""

import asyncio
from typing import Final

from gateway_agent.config import Bus, SerialBus
from gateway_agent.fine_timer import FineTimer

LEAD_S: Final = 0.0001  # what a timer and a task need to wake
DRAIN_S: Final = 2.0  # a line that never falls silent is used all the same after this time


class LineSilence:
    """The silence of one line. Times are those of the running loop."""

    def __init__(self, bus: Bus) -> None:
        self.is_disturbed = False  # the line must be silent for longer before the next request
        self._loop = asyncio.get_running_loop()
        self._silence_s = bus.silence_ms / 1000
        self._quiet_s = max(self._silence_s, bus.quiet_ms / 1000)
        self._is_fine = isinstance(bus, SerialBus)  # a network takes longer than the difference
        self._lead_s = LEAD_S if self._is_fine else 0.0
        self._last_byte = 0.0
        self._due = 0.0  # when the next request may be sent
        self._timer: FineTimer | None = None
        self._woken: asyncio.Future[None] | None = None

    @property
    def due(self) -> float:
        """Return when a request that is ready now may be sent: now, or in ``LEAD_S`` at most."""
        now = self._loop.time()
        return self._due if 0 < self._due - now <= self._lead_s else now

    def restart(self) -> None:
        """Note that bytes are received or sent now."""
        self._last_byte = self._loop.time()

    async def fall(self) -> None:
        """Wait until the line has been silent for as long as it must be, a little less if fine."""
        limit = self._loop.time() + DRAIN_S
        while True:
            wait = self._quiet_s if self.is_disturbed else self._silence_s
            due = min(self._last_byte + wait, limit)
            if due - self._loop.time() <= self._lead_s:
                self._due = max(self._due, due)
                return
            await self.until(due)

    async def until(self, when: float) -> None:
        """Wait until ``when``, or where the timer is fine until a little before it."""
        self._due = when
        rest = when - self._lead_s - self._loop.time()
        if rest <= 0:
            return
        timer = self._fine_timer() if self._is_fine else None
        if timer is None:
            await asyncio.sleep(rest)
            return
        woken = self._woken = self._loop.create_future()
        timer.start(round(rest * 1e9))
        await woken

    def hold(self) -> None:
        """Look at the clock until the request may be sent: for ``LEAD_S`` at most."""
        due = self.due
        while self._loop.time() < due:
            pass

    def close(self) -> None:
        """End the wait under way, and let go of the timer until the next one."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.close()
        self._wake()

    def _fine_timer(self) -> FineTimer | None:
        if self._timer is None:
            try:
                self._timer = FineTimer(self._loop, self._wake)
            except OSError:  # no descriptor is left: the loop's timer will do
                return None
        return self._timer

    def _wake(self) -> None:
        woken, self._woken = self._woken, None
        if woken is not None and not woken.done():
            woken.set_result(None)
