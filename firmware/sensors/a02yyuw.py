"""DYP A02YYUW, waterproof ultrasonic distance (DFRobot SEN0311 wiki, "Communication protocol").

UART 9600 8N1, sends unasked: every 100 to 300 ms (RX open or high: smoothed values), every 100 ms
(RX low: each value). Frame of 4 bytes: FF, high, low, sum of these three modulo 256;
FF 07 A1 A7 = 1953 mm. Blind zone 30 mm, range to 4500 mm: outside it the value is no distance.

FF also occurs inside frames and a sum is a weak check: one in 256 damaged frames passes it.
Checked against a transcription of the maker's protocol page, not against a PDF.
"""

from micropython import const

from .part import Warmup
from .stream import DAMAGED, FRAME, Link, Parser, StreamPart

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from .ports import Clock, Uart

_SIZE = const(4)
_MAX_AGE_MS = const(1000)  # three of its longest intervals


class A02Parser(Parser):
    """``mm`` of the last checked frame, whatever its range."""

    def __init__(self) -> None:
        Parser.__init__(self, _SIZE)
        self.mm = 0

    def _size(self, at: int, held: int) -> int:
        return _SIZE if self._buf[at] == 0xFF else -1

    def _take(self, at: int, size: int) -> int:
        buf = self._buf
        if (0xFF + buf[at + 1] + buf[at + 2]) & 0xFF != buf[at + 3]:
            return DAMAGED
        self.mm = (buf[at + 1] << 8) | buf[at + 2]
        return FRAME


class A02yyuw(StreamPart):
    """Value: distance in mm."""

    def __init__(self, clock: "Clock", uart: "Uart") -> None:
        self._parser = A02Parser()
        StreamPart.__init__(self, 1, Link(clock, uart, self._parser), Warmup(clock, 0), _MAX_AGE_MS)

    async def read(self, limit_s: int) -> None:
        """Take the newest frame. Deadline 1 s, or none while ``run`` serves the line."""
        self.codes[0] = await self.newest(limit_s)
        self.values[0] = self._parser.mm
