"""Plantower PMS5003, particle counter (PMS5003 series data manual V2.3, 2016-06-01).

UART 9600 8N1, 3.3 V levels. Facts and where they stand in the manual:

* Frame of 32 bytes (appendix I): 42 4D, length 28, 13 words big endian, check = sum of the first
  30 bytes. Words 4 to 6 are PM1.0, PM2.5 and PM10 "under atmospheric environment" in ug/m3, word 7
  the particles over 0.3 um in 0.1 L. The last word before the check is version (high byte) and
  error code (low byte, not 0: the part reports a fault).
* Active mode sends unasked, every 200 to 800 ms while values change, every 2.3 s while they do not
  ("Output result"). Passive mode answers a read command (appendix II).
* Stable data 30 s after wake-up ("Circuit attentions" 4), because of the fan.
* Commands are 42 4D, command, data (2), sum (2); mode and sleep commands are answered by a short
  frame (length 4). The answer's form is not in the manual; it is skipped as an acknowledgement.

Section titles were checked against a transcription of the manual, not against the PDF.
"""

from micropython import const

from protocols.wire.registers import FAULT, OK

from .part import Warmup
from .stream import DAMAGED, FRAME, OTHER, Link, Parser, StreamPart

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from .ports import Clock, Uart

_SIZE = const(32)
_ACK_SIZE = const(8)
_WARMUP_MS = const(30_000)
_MAX_AGE_MS = const(3000)  # above the 2.3 s of the stable sub-mode
_ANSWER_MS = const(400)

CMD_MODE = 0xE1
CMD_READ = 0xE2
CMD_SLEEP = 0xE4


def command(code: int, data: int) -> bytes:
    """Return one of the manual's 7 byte commands; ``data``: 0 passive or sleep, 1 active."""
    total = 0x42 + 0x4D + code + data
    return bytes((0x42, 0x4D, code, 0, data, total >> 8, total & 0xFF))


class PmsParser(Parser):
    """``words[i]`` is the manual's data i + 1; ``error`` the part's own error code."""

    def __init__(self) -> None:
        Parser.__init__(self, _SIZE)
        self.words = [0] * 12
        self.version = 0
        self.error = 0

    def _size(self, at: int, held: int) -> int:
        buf = self._buf
        if buf[at] != 0x42 or (held > 1 and buf[at + 1] != 0x4D) or (held > 2 and buf[at + 2]):
            return -1
        if held < 4:
            return 0
        length = buf[at + 3]
        if length == _SIZE - 4:
            return _SIZE
        return _ACK_SIZE if length == _ACK_SIZE - 4 else -1

    def _take(self, at: int, size: int) -> int:
        buf = self._buf
        total = 0
        for index in range(at, at + size - 2):
            total += buf[index]
        end = at + size
        if total != (buf[end - 2] << 8) | buf[end - 1]:
            return DAMAGED
        if size == _ACK_SIZE:
            return OTHER
        for index in range(12):
            self.words[index] = (buf[at + 4 + 2 * index] << 8) | buf[at + 5 + 2 * index]
        self.version = buf[at + 28]
        self.error = buf[at + 29]
        return FRAME


class Pms5003(StreamPart):
    """Values: PM1.0, PM2.5, PM10 (ug/m3, atmospheric), particles over 0.3 um in 0.1 L."""

    def __init__(self, clock: "Clock", uart: "Uart") -> None:
        self._parser = PmsParser()
        StreamPart.__init__(
            self, 4, Link(clock, uart, self._parser), Warmup(clock, _WARMUP_MS), _MAX_AGE_MS
        )
        self.passive = False  # the mode to be in
        self._mode = -1  # the mode last commanded

    async def read(self, limit_s: int) -> None:
        """Take one reading. Deadline 0.4 s passive; active 3 s, or none while ``run`` serves."""
        mode = 0 if self.passive else 1
        if mode != self._mode:
            self._link.uart.write(command(CMD_MODE, mode))
            self._mode = mode
        if self.passive:
            code = await self._link.ask(command(CMD_READ, 0), _ANSWER_MS)
            if code == OK:
                self._fresh = True
                self._warmup.heard()
                code = self._warmup.code(limit_s)
            else:
                self._warmup.silent()
                self._mode = -1  # a part that restarted is in active mode: send the command again
        else:
            code = await self.newest(limit_s)
        if code == OK and self._parser.error:
            code = FAULT
        self.all(code)
        for index in range(4):
            self.values[index] = self._parser.words[3 + index]
