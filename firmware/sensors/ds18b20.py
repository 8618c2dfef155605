"""Maxim DS18B20, temperature over 1-Wire (DS18B20 datasheet 19-7487 revision 6).

Facts (section titles from memory and reference notes, not checked against the PDF):

* ROM: family 28h, serial (6), CRC. Read ROM 33h reaches it when one part is on the wire; this
  driver serves one part ("ROM commands").
* Convert T 44h takes at most 750 ms at 12 bit ("Table 2"); a part with its own supply answers read
  slots with 0 while it converts and 1 afterwards ("Convert T"). Parasite power is not served.
* Scratchpad BEh: temperature low, high (1/16 degC, two's complement), TH, TL, configuration
  (0 R1 R0 1 1 1 1 1), FF, reserved, 10, CRC ("Memory").
* Power-on value 0550h = 85 degC ("Table 1", note): the part restarted and has converted nothing.
  It is refused once; two in a row are a temperature.
"""

from micropython import const

from protocols.wire.registers import CHECKSUM, FAULT, NO_SAMPLE, OK, TIMEOUT

from .aio import sleep_ms
from .crc8 import dallas
from .part import Part

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from .ports import Clock, OneWire

_READ_ROM = const(0x33)
_SKIP_ROM = const(0xCC)
_CONVERT = const(0x44)
_READ_SCRATCHPAD = const(0xBE)
_FAMILY = const(0x28)
_POWER_ON = const(0x0550)
_CONVERT_MS = const(750)
_POLL_MS = const(50)


def rom_code(rom: bytes | bytearray | memoryview) -> int:
    """Return the quality of an 8 byte ROM: OK, CHECKSUM, or FAULT (of another family)."""
    # All zero has a sound CRC: it is what a wire shorted to ground reads as.
    if rom[0] == 0 or dallas(rom, 8):
        return CHECKSUM
    return OK if rom[0] == _FAMILY else FAULT


def scratchpad_code(pad: bytes | bytearray | memoryview) -> int:
    """Return the quality of a 9 byte scratchpad: OK or CHECKSUM."""
    # The fixed bits of the configuration register exclude the zeros of a shorted wire.
    return CHECKSUM if dallas(pad, 9) or pad[4] & 0x9F != 0x1F else OK


def sixteenths(pad: bytes | bytearray | memoryview) -> int:
    """Return the temperature of a sound scratchpad in 1/16 degC; unused bits are 0."""
    raw = (pad[1] << 8) | pad[0]
    if raw & 0x8000:
        raw -= 0x10000
    unused = 3 - (pad[4] >> 5 & 3)  # "undefined" below 12 bit resolution
    return raw >> unused << unused


def centi_celsius(raw: int) -> int:
    """Convert 1/16 degC to 0.01 degC, halves rounded up."""
    return (25 * raw + 2) // 4


class Ds18b20(Part):
    """Value: temperature in 0.01 degC."""

    def __init__(self, clock: "Clock", onewire: "OneWire") -> None:
        Part.__init__(self, 1)
        self._clock = clock
        self._wire = onewire
        self._bit = bytearray(1)
        self._pad = bytearray(9)
        self.rom = bytearray(8)
        self._known = False  # the ROM has been read and checked since the part was last away
        self._refused = False

    async def read(self, limit_s: int) -> None:
        """Take one reading. Deadline 0.8 s and the wire's own."""
        code = await self._measure()
        if code != OK:
            self._known = False
            self.codes[0] = code
            return
        raw = sixteenths(self._pad)
        if raw == _POWER_ON and not self._refused:
            self._refused = True
            self.codes[0] = NO_SAMPLE
            return
        self._refused = raw == _POWER_ON
        self.codes[0] = OK
        self.values[0] = centi_celsius(raw)

    def raw(self, index: int) -> int:
        """Return the temperature in 1/16 degC, as a two's complement."""
        return sixteenths(self._pad)

    async def _measure(self) -> int:
        wire = self._wire
        try:
            if not self._known:
                if not wire.reset():
                    return TIMEOUT
                wire.writebyte(_READ_ROM)
                wire.readinto(self.rom)
                code = rom_code(self.rom)
                if code != OK:
                    return code
                self._known = True
            if not wire.reset():
                return TIMEOUT
            wire.writebyte(_SKIP_ROM)
            wire.writebyte(_CONVERT)
            start = self._clock.now_ms()
            while True:
                await sleep_ms(_POLL_MS)
                wire.readinto(self._bit)
                if self._bit[0]:
                    break
                if self._clock.ticks_diff(self._clock.now_ms(), start) >= _CONVERT_MS:
                    break
            if not wire.reset():
                return TIMEOUT
            wire.writebyte(_SKIP_ROM)
            wire.writebyte(_READ_SCRATCHPAD)
            wire.readinto(self._pad)
        except OSError:
            return TIMEOUT
        return scratchpad_code(self._pad)
