"""An event loop and a serial line in simulated time: what each step takes is what a test says.

Like the real ones, the loop's own timers go by whole milliseconds, a finer timer does not, and
after either some time passes until anything runs.
"""

import asyncio
import math
import selectors
from collections.abc import Callable, Iterable
from typing import Final

from .slave import raw_answer, registers

BITS: Final = 10  # of a character, 8N1
_LOOK_S: Final = 1e-6  # what reading the clock takes
_REQUEST: Final = 8


class _Selector(selectors.SelectSelector):
    """Waits in simulated time, which the loop that uses it owns."""

    loop: "SimulatedLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if not events:
            self.loop.let_pass(timeout)
        return events


class SimulatedLoop(asyncio.SelectorEventLoop):
    """``latency_s`` is what passes between a timer's time and the first step that runs for it."""

    def __init__(self, latency_s: float = 0.0) -> None:
        self.now = 1000.0
        self.latency_s = latency_s
        self.fine: dict[object, tuple[float, Callable[[], None]]] = {}
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        self.now += _LOOK_S
        return self.now

    def work(self, seconds: float) -> None:
        """Let a step take this time."""
        self.now += seconds

    def let_pass(self, timeout: float | None) -> None:
        """Go on to what is next: the loop's own timer, or a fine one if that is earlier."""
        wait = math.inf if timeout is None else math.ceil(timeout * 1000) / 1000
        name, (due, call) = min(
            self.fine.items(), key=lambda item: item[1][0], default=(None, (math.inf, print))
        )
        if min(wait, due) == math.inf:
            raise AssertionError("everything waits, and for nothing")
        if wait and due <= self.now + wait:
            del self.fine[name]
            self.now = max(self.now, due)
            call()
        elif wait:
            self.now += wait + self.latency_s


class SimulatedTimer:
    """In place of FineTimer."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_time: Callable[[], None]) -> None:
        assert isinstance(loop, SimulatedLoop)
        self._loop = loop
        self._on_time = on_time

    def start(self, wait_ns: int) -> None:
        self._loop.fine[self] = (self._loop.now + wait_ns / 1e9, self._wake)

    def _wake(self) -> None:
        self._loop.work(self._loop.latency_s)
        self._on_time()

    def close(self) -> None:
        self._loop.fine.pop(self, None)


class SimulatedLine(asyncio.Transport):
    """A port with a device behind it, and what an instrument on the line would count.

    ``pauses`` are the silences from the last byte of an answer (or other byte) to the next request.
    ``stray`` are seconds after an answer at which another byte comes.
    """

    def __init__(
        self, link: asyncio.Protocol, baudrate: int, turnaround_s: float, stray: Iterable[float]
    ) -> None:
        super().__init__()
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        self._loop = loop
        self._link = link
        self._char_s = BITS / baudrate
        self._turnaround_s = turnaround_s
        self._stray = tuple(stray)
        self.read_s = 0.0  # from the last byte to the moment at which the gateway reads
        self.pauses: list[float] = []
        self.sent_at: list[float] = []
        self.busy_s: list[float] = []  # from a request's first byte to its answer's last one
        self._last: float | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        now = self._loop.now
        assert len(data) == _REQUEST
        if self._last is not None:
            self.pauses.append(now - self._last)
        self.sent_at.append(now)
        unit, function, _, count = registers(bytes(data))
        answer = raw_answer(unit, self.content(unit, count), function)
        busy_s = (len(data) + len(answer)) * self._char_s + self._turnaround_s
        self.busy_s.append(busy_s)
        self._at(now + busy_s, answer)
        for after in self._stray:
            self._at(now + busy_s + after, b"\xff")

    def content(self, unit: int, count: int) -> bytes:
        """Return the registers that the device of this address has."""
        return bytes(2 * count)

    def _at(self, when: float, data: bytes) -> None:
        def pass_() -> None:
            self._last = when
            self._loop.work(self.read_s)
            self._link.data_received(data)

        self._loop.fine[object()] = (when, pass_)

    def close(self) -> None:
        pass

    def abort(self) -> None:
        pass
