"""When a line can take the next frame, so that no frame waits in a driver.

What was handed to the driver cannot be overtaken: an event would wait behind all of it. So the end
hands out a frame when the line has almost sent the one before.
"""

from micropython import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from protocols.wire.ports import TicksDiff

_LEAD_US = const(4000)  # the line has its next frame before it is idle
_LONG_MS = const(20_000)  # longer than any frame takes


class LinePace:
    """A line of ``baud``, with 10 bits a character; 0: the caller sees to the pace."""

    def __init__(self, baud: int, diff: "TicksDiff") -> None:
        # In 1/16 us, rounded up, so that the line is never asked for more than it has.
        self._char = (160_000_000 + baud - 1) // baud if baud else 0
        self._diff = diff
        self._left_us = 0  # what the line had to send at _at_ms
        self._at_ms = 0

    def frame_ms(self, length: int) -> int:
        """Return how long a frame takes; 0 if that is not known."""
        return length * self._char // 16_000

    def sent(self, length: int) -> None:
        """Count a frame, after :meth:`wait_ms` was asked for this moment."""
        self._left_us += length * self._char >> 4

    def wait_ms(self, now_ms: int) -> int:
        """Return the milliseconds until the line can take a frame."""
        if self._left_us:
            passed = min(_LONG_MS, self._diff(now_ms, self._at_ms))
            self._left_us = max(0, self._left_us - passed * 1000)
        self._at_ms = now_ms
        return max(0, (self._left_us - _LEAD_US + 999) // 1000)
