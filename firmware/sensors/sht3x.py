"""Sensirion SHT30/31/35, temperature and humidity over I2C (SHT3x-DIS datasheet version 6).

Facts (section numbers from memory and reference notes, not checked against the PDF):

* Address 44h, or 45h with ADDR high (3.2). Single shot, high repeatability, no clock stretching:
  2400h (4.3, table 9). While it measures, at most 15 ms (2.2, table 4; 15.5 ms below 2.4 V), the
  part does not acknowledge a read.
* Answer: temperature (2), CRC, humidity (2), CRC (4.3); CRC-8 per word (4.12).
* T = -45 + 175 * raw / 65535 degC, RH = 100 * raw / 65535 % (4.13).
"""

from micropython import const

from protocols.wire.registers import CHECKSUM, OK, TIMEOUT

from .aio import sleep_ms
from .crc8 import sensirion
from .part import Part

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from .ports import Clock, I2c

_MEASURE_MS = const(16)
_DEADLINE_MS = const(60)
_POLL_MS = const(4)
_ETIMEDOUT = const(110)


def centi_celsius(raw: int) -> int:
    """Convert to 0.01 degC, rounded; 17500 / 65535 is shortened to stay below 2**30."""
    return (3500 * raw + 6553) // 13107 - 4500


def centi_percent(raw: int) -> int:
    """Convert to 0.01 %RH, 0 to 10000, rounded to nearest."""
    return (2000 * raw + 6553) // 13107


def word(answer: bytes | bytearray | memoryview, index: int) -> int:
    """Return word 0 (temperature) or 1 (humidity) of a 6 byte answer; -1 for a wrong CRC."""
    at = 3 * index
    if sensirion(answer, at, 2) != answer[at + 2]:
        return -1
    return (answer[at] << 8) | answer[at + 1]


class Sht3x(Part):
    """Values: temperature in 0.01 degC, relative humidity in 0.01 %. Each word has its own CRC."""

    def __init__(self, clock: "Clock", i2c: "I2c", address: int = 0x44) -> None:
        Part.__init__(self, 2)
        self._clock = clock
        self._i2c = i2c
        self._address = address
        self._answer = bytearray(6)
        self._command = b"\x24\x00"

    async def read(self, limit_s: int) -> None:
        """Take one reading. Deadline 60 ms after the measurement time of 16 ms."""
        try:
            self._i2c.writeto(self._address, self._command)
        except OSError:
            self.all(TIMEOUT)
            return
        await sleep_ms(_MEASURE_MS)
        start = self._clock.now_ms()
        while True:
            try:
                self._i2c.readfrom_into(self._address, self._answer)
                break
            except OSError as error:
                # Not acknowledged: still measuring, or gone. A bus that hangs is not asked again:
                # each try holds the loop for as long as the bus takes to give up.
                if (
                    error.args[0] == _ETIMEDOUT
                    or self._clock.ticks_diff(self._clock.now_ms(), start) >= _DEADLINE_MS
                ):
                    self.all(TIMEOUT)
                    return
            await sleep_ms(_POLL_MS)
        for index in range(2):
            raw = word(self._answer, index)
            self.codes[index] = CHECKSUM if raw < 0 else OK
            if raw >= 0:
                self.values[index] = centi_percent(raw) if index else centi_celsius(raw)

    def raw(self, index: int) -> int:
        """Return the part's word, 65535 at full scale."""
        return word(self._answer, index)
