"""How long a packet may take until it is sent again: RFC 6298, for a line that nobody else uses.

There a lost packet is a damaged one and no sign that the line is full, so the timeout is doubled
less often than the RFC asks for.
"""

from micropython import const

DOUBLINGS = 2  # of a timeout before the first measurement, and of a question

_DOUBLINGS_MEASURED = const(1)
_FIRST_MS = const(1000)
_LONGEST_MS = const(4000)
_MARGIN_MS = const(50)


class RoundTrip:
    """The smoothed round trip of one line, over all sessions."""

    def __init__(self) -> None:
        self._floor_ms = _MARGIN_MS
        self._smoothed_x8 = -1  # nothing measured
        self._variation_x4 = 0

    def start(self, frame_ms: int) -> None:
        """Begin a session whose largest frame takes ``frame_ms`` on the line; 0: not known."""
        self._floor_ms = _MARGIN_MS + frame_ms

    def smoothed_ms(self) -> int:
        """Return the smoothed round trip, -1 before the first one."""
        return self._smoothed_x8 >> 3

    def measured(self, ms: int) -> None:
        """Take a round trip of a packet that was sent once."""
        smoothed = self._smoothed_x8 >> 3
        if smoothed < 0:
            self._smoothed_x8 = ms << 3
            self._variation_x4 = 2 * ms
        else:
            self._variation_x4 += abs(smoothed - ms) - (self._variation_x4 >> 2)
            self._smoothed_x8 += ms - smoothed

    def timeout_ms(self, tries: int) -> int:
        """Return how long a packet may take after ``tries`` that were in vain."""
        if self._smoothed_x8 < 0:
            timeout = _FIRST_MS
        else:
            timeout = (self._smoothed_x8 >> 3) + self._variation_x4
            tries = min(tries, _DOUBLINGS_MEASURED)
        return min(_LONGEST_MS, max(timeout, self._floor_ms) << tries)
