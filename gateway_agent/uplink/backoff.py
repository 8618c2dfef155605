"""Wait between attempts to connect, for as long as the reason of the last end suggests."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple


class Pause(NamedTuple):
    """How long to wait: the first time up to ``first_s``, doubling up to ``longest_s``."""

    first_s: float
    longest_s: float


#: The broker is away or starts again: readings wait, and an attempt costs it little. An attempt
#: that nobody answers takes 5 s, the last 2 s of them in vain (TCP asks again after 1 and 3 s), and
#: this wait follows. So a broker that is back hears of us after 4 s at the latest.
AWAY: Final = Pause(0.5, 2.0)
#: The broker wants less of us, or somebody has to change something first.
REFUSED: Final = Pause(0.5, 60.0)
#: Two clients have one id; whoever comes back at once throws the other out again. 60 to 120 s.
TAKEN_OVER: Final = Pause(120.0, 120.0)
#: It looks as if two clients had one id, but the broker cannot say so (MQTT 3.1.1).
RIVALRY: Final = Pause(10.0, 300.0)


class Backoff:
    """Wait longer from failure to failure, with jitter so that a fleet does not return at once."""

    def __init__(
        self,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        """``draw`` returns a number between its two."""
        self._sleep = sleep
        self._draw = draw
        self._pause = AWAY
        self._failures = 0

    def reset(self) -> None:
        """Begin again with the shortest wait: the connection was of use."""
        self._failures = 0

    def next_s(self, pause: Pause = AWAY) -> float:
        """Return the seconds to wait now; the next wait for the same kind of reason is longer."""
        if pause != self._pause:
            self._pause, self._failures = pause, 0
        most = min(pause.first_s * 2**self._failures, pause.longest_s)
        if most < pause.longest_s:  # else the power has no end
            self._failures += 1
        return self._draw(most / 2, most)

    async def wait(self, pause: Pause = AWAY) -> None:
        """Wait for the next attempt."""
        await self._sleep(self.next_s(pause))
