"""The clocks of a line: the host's, with a timer finer than an event loop's.

A line of boards whose time is virtual goes by :class:`hil.wires.virtual_clock.VirtualClock`
instead.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from gateway_agent.fine_timer import FineTimer


class LineTimer(Protocol):
    """Calls back once the clock has reached a time."""

    def start(self, due_ns: int) -> None:
        """Call back at ``due_ns``, in place of the call that was due before."""

    def close(self) -> None:
        """Stop for good; further calls do nothing."""


class LineClock(Protocol):
    """The time that a line goes by, in ns."""

    def now_ns(self) -> int:
        """Return the time."""

    def timer(self, on_time: Callable[[], None]) -> LineTimer:
        """Return a timer of this clock, in the running event loop."""


class HostClock:
    """The host's monotonic clock."""

    def now_ns(self) -> int:
        """Return the time."""
        return time.monotonic_ns()

    def timer(self, on_time: Callable[[], None]) -> LineTimer:
        """Return a timer of this clock, in the running event loop."""
        return _HostTimer(on_time)


class _HostTimer:
    def __init__(self, on_time: Callable[[], None]) -> None:
        self._timer = FineTimer(asyncio.get_running_loop(), on_time)

    def start(self, due_ns: int) -> None:
        self._timer.start(due_ns - time.monotonic_ns())

    def close(self) -> None:
        self._timer.close()
