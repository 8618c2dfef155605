"""The wire: the end of an emulated UART that the bench holds.

:class:`hil.wires.pty.Pty` is one whose far end is a path; the far end of a
:class:`hil.wires.descriptor.DescriptorWire` is an emulator's socket or terminal. The line, the
simulated parts and the consoles take any of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


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
