"""How fast the time of emulated boards passes: seconds of virtual time for one of the host.

Each test on an engine with a virtual time has it among its results, a run has it in its last lines.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final

#: Names of the properties of a test.
VIRTUAL: Final = "virtual_s"
HOST: Final = "virtual_host_s"
_SPEED: Final = "virtual_speed"
#: Less shows the grain of the clocks.
_LEAST_S: Final = 0.5


class Speed:
    """Counts both times from now on; ``clock`` returns the virtual one in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._virtual_start = clock()
        self._host_start = time.monotonic()

    def properties(self) -> list[tuple[str, float]]:
        """Return both times and their ratio, as properties of a test; none if it was short."""
        host_s = time.monotonic() - self._host_start
        if host_s < _LEAST_S:
            return []
        virtual_s = self._clock() - self._virtual_start
        ratio = round(virtual_s / host_s, 3)
        return [(VIRTUAL, round(virtual_s, 3)), (HOST, round(host_s, 3)), (_SPEED, ratio)]


def speed_line(times: Iterable[tuple[float, float]]) -> str:
    """Return a line about tests by their virtual and host seconds; empty if none has any."""
    pairs = list(times)
    virtual_s, host_s = sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs)
    if not host_s:
        return ""
    return (
        f"virtual time: {virtual_s:.0f} s in {host_s:.0f} s of the host, "
        f"{virtual_s / host_s:.2f} s a second"
    )
