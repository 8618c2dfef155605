"""Winsen MH-Z19B, carbon dioxide by infrared absorption (user's manual version 1.0 to 1.6).

UART 9600 8N1, 3.3 V levels. Facts ("Communication" and "Specification" of the manual; from memory
and reference notes, not checked against the PDF):

* Command: FF 01 cmd, 5 bytes of data, check. Answer to 86: FF 86 high low, 4 bytes that the manual
  does not define, check. Check = two's complement of the sum of bytes 1 to 7. Example:
  FF 86 02 60 47 00 00 00 D1 = 608 ppm.
* Preheating time 3 min. Range 0 to 2000 or 5000 ppm by variant, up to 10000 by command.
* Automatic baseline correction (79: A0 on, 00 off) takes the lowest value of 24 h for 400 ppm:
  right outdoors, which is where these nodes stand.
"""

from micropython import const

from protocols.wire.registers import OK, TIMEOUT

from .part import Part, Warmup
from .stream import DAMAGED, FRAME, OTHER, Link, Parser

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from .ports import Clock, Uart

_SIZE = const(9)
_WARMUP_MS = const(180_000)
_ANSWER_MS = const(300)

CMD_READ = 0x86
CMD_BASELINE = 0x79
CMD_ZERO = 0x87


def command(code: int, data: int = 0) -> bytes:
    """Return one of the manual's 9 byte commands with its check."""
    return bytes((0xFF, 0x01, code, data, 0, 0, 0, 0, -(0x01 + code + data) & 0xFF))


class Mhz19bParser(Parser):
    """``ppm`` of the last checked answer to command 86."""

    def __init__(self) -> None:
        Parser.__init__(self, _SIZE)
        self.ppm = 0

    def _size(self, at: int, held: int) -> int:
        buf = self._buf
        if buf[at] != 0xFF:
            return -1
        if held < 2:
            return 0
        known = buf[at + 1]
        if known != CMD_READ and known != CMD_BASELINE and known != CMD_ZERO:
            return -1
        return _SIZE

    def _take(self, at: int, size: int) -> int:
        buf = self._buf
        total = 0
        for index in range(at + 1, at + size):
            total += buf[index]
        if total & 0xFF:
            return DAMAGED
        if buf[at + 1] != CMD_READ:
            return OTHER
        self.ppm = (buf[at + 2] << 8) | buf[at + 3]
        return FRAME


class Mhz19b(Part):
    """Value: carbon dioxide in ppm."""

    def __init__(self, clock: "Clock", uart: "Uart") -> None:
        Part.__init__(self, 1)
        self._parser = Mhz19bParser()
        self._link = Link(clock, uart, self._parser)
        self._warmup = Warmup(clock, _WARMUP_MS)
        self._command = command(CMD_READ)

    async def read(self, limit_s: int) -> None:
        """Ask for one reading. Deadline 0.3 s."""
        code = await self._link.ask(self._command, _ANSWER_MS)
        if code == OK:
            self._warmup.heard()
            code = self._warmup.code(limit_s)
        elif code == TIMEOUT:
            self._warmup.silent()
        self.codes[0] = code
        self.values[0] = self._parser.ppm
