"""The virtual time of the stand-in: when it passes, stands, flies, and what machines lose of it.

While a core runs, time follows the host's and never passes it. While the emulation is started and
every core stands still, nothing holds it: it flies, and a core that is switched on then executes
nothing until the host has caught up, unless time may advance immediately. While one machine is
paused, no machine gets time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

#: Virtual seconds for one of the host: without a core that runs, and as fast as it can.
FLIGHT: Final = 1000.0
AHEAD: Final = 5.0
#: The stock quantum.
STOCK_QUANTUM_S: Final = 0.0001
#: What machines count of their milliseconds where several run in parallel, by the longest quantum
#: for which it holds: all but the last machine, and the last.
PARALLEL: Final = (
    (0.0003, 1.0, 1.0),
    (0.0007, 0.933, 1.0),
    (0.001, 0.963, 1.0),
    (0.003, 0.32, 1.0),
)
LONGER: Final = (0.155, 0.969)


class Core(Protocol):
    """What the clock asks of a machine."""

    #: It was stopped as a whole.
    paused: bool
    #: Seconds that its own counter has counted since its reset.
    own_s: float

    @property
    def running(self) -> bool:
        """True while its core executes, if it gets time."""


class FakeClock:
    """The time of one emulation with ``cores``, in the order in which they were made."""

    def __init__(self, cores: Callable[[], Sequence[Core]]) -> None:
        self.serial = False
        self.immediate = False
        self.quantum_s = STOCK_QUANTUM_S
        self._cores = cores
        self._started = False
        self._virtual_s = self._host_s = 0.0
        self._seen = time.monotonic()
        self._lock = threading.RLock()  # ports ask from threads of their own

    @property
    def started(self) -> bool:
        """True while time passes by itself."""
        return self._started

    def start(self, on: bool) -> None:
        """Let time pass by itself, or stop it."""
        self.now_s()
        self._started = on

    def run_for(self, seconds: float) -> None:
        """Let time pass at once."""
        self._pass(seconds)
        self._host_s += seconds

    def lead_s(self) -> float:
        """Return the seconds of the host that a core sleeps before it executes."""
        return 0.0 if self.immediate else max(0.0, self.now_s() - self._host_s)

    def now_s(self) -> float:
        """Return the virtual time. Call it before anything changes that time depends on."""
        with self._lock:
            return self._now_s()

    def _now_s(self) -> float:
        now = time.monotonic()
        host_s, self._seen = now - self._seen, now
        if not self._started:
            return self._virtual_s
        cores = self._cores()
        if any(core.paused for core in cores):
            passed = 0.0
        elif not any(core.running for core in cores):
            passed = host_s * FLIGHT
        elif self.immediate:
            passed = host_s * AHEAD
        else:
            passed = max(0.0, self._host_s + host_s - self._virtual_s)
        self._host_s += host_s
        self._pass(passed)
        return self._virtual_s

    def _pass(self, seconds: float) -> None:
        self._virtual_s += seconds
        cores = self._cores()
        for number, core in enumerate(cores, 1):
            if core.running:
                core.own_s += seconds * self._rate(last=number == len(cores), cores=len(cores))

    def _rate(self, last: bool, cores: int) -> float:
        if self.serial or cores == 1:
            return 1.0
        for longest_s, others, rate in PARALLEL:
            if self.quantum_s <= longest_s:
                return rate if last else others
        return LONGER[last]
