"""The virtual time of an emulation, as its ports show it, as the clock of a line.

Every port shows the time again and again, and what its node sent before (see
:mod:`hil.wires.line_port_codec`). So the time that all of them have reached is one before which
nothing more can have been sent: a line that goes by it is never surprised.
"""

from __future__ import annotations

from collections.abc import Callable


class VirtualClock:
    """The time that every port has reached, in ns. It stands while the emulation does."""

    def __init__(self) -> None:
        self._now = 0
        self._ports: dict[object, int] = {}
        self._timers: list[VirtualTimer] = []

    def now_ns(self) -> int:
        """Return the time."""
        return self._now

    def timer(self, on_time: Callable[[], None]) -> VirtualTimer:
        """Return a timer of this clock."""
        timer = VirtualTimer(self, on_time)
        self._timers.append(timer)
        return timer

    def reached(self, port: object, at_ns: int) -> None:
        """Note that a port has shown this time."""
        self._ports[port] = at_ns
        self._look()

    def leave(self, port: object) -> None:
        """Wait for a port no more, until it shows a time again."""
        self._ports.pop(port, None)
        self._look()

    def _look(self) -> None:
        now = min(self._ports.values(), default=0)
        if now > self._now:
            self._now = now
            for timer in list(self._timers):
                timer.look()

    def forget(self, timer: VirtualTimer) -> None:
        """Call a timer no more."""
        if timer in self._timers:
            self._timers.remove(timer)


class VirtualTimer:
    """Calls ``on_time`` once for every :meth:`start`, when ``clock`` has reached the time."""

    def __init__(self, clock: VirtualClock, on_time: Callable[[], None]) -> None:
        self._clock = clock
        self._on_time = on_time
        self._due: int | None = None

    def start(self, due_ns: int) -> None:
        """Call back at ``due_ns``; if that has passed, at the next sign of time."""
        self._due = due_ns

    def look(self) -> None:
        """Call back if it is time."""
        if self._due is not None and self._due <= self._clock.now_ns():
            self._due = None
            self._on_time()

    def close(self) -> None:
        """Stop for good; further calls do nothing."""
        self._due = None
        self._clock.forget(self)
