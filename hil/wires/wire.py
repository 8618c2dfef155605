"""The wire: the end of an emulated UART that the bench holds.

:class:`hil.wires.pty.Pty` is one whose far end is a path; the far end of a
:class:`hil.wires.descriptor.DescriptorWire` is an emulator's socket or terminal. The line, the
simulated parts and the consoles take any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable


class Wire(Protocol):
    """Bytes both ways, no framing, no waiting."""

    #: Bytes that did not fit where the far end would have read them.
    overrun: int

    def listen(self, on_data: Callable[[bytes], None]) -> None:
        """Call ``on_data`` from the running event loop with every chunk the far end writes."""

    def write(self, data: bytes) -> int:
        """Send to the far end; return how many bytes were taken, the rest is in ``overrun``."""

    def flush(self) -> None:
        """Drop what waits at the far end: a receiver that was switched off never got it."""

    def close(self) -> None:
        """Stop listening and close; further calls do nothing."""


@runtime_checkable
class TimedWire(Wire, Protocol):
    """A wire whose far end has a virtual time: every byte has its own. Times are ns of that time.

    A node receives a byte ``lag_ns`` after it has passed, so that it is there in time. ``late``
    pieces were not, by ``late_us`` at most.
    """

    lag_ns: int
    late: int
    late_us: int

    def listen_timed(self, on_data: Callable[[bytes, int], None]) -> None:
        """Call ``on_data`` with what the node sends and the time at which it began to."""

    def announce(self, data: bytes, times: Sequence[int]) -> None:
        """Send bytes to the node, each at its time."""

    def retract(self, after: int) -> None:
        """Take back the bytes that would have passed after that time."""

    def receives(self) -> bool:
        """Return whether there is a node to receive bytes."""
