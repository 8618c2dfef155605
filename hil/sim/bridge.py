"""I2C, 1-Wire and ADC behind one pseudo terminal, and the parts that hang on them.

A host has none of these buses; the node's board package sends each bus operation over this wire:
request ``op, length, payload``, answer ``status, length, payload``. Operations:

==== ================= ======================== =======================
op   payload           answer                   bus
==== ================= ======================== =======================
W    address, data     none                     I2C write
R    address, n        n bytes                  I2C read
O    none              presence 0 or 1          1-Wire reset
o    bytes             none                     1-Wire write
i    n                 n bytes                  1-Wire read
A    channel           u16 big endian, 0..65535 ADC: 0 pH, 1 turbidity
==== ================= ======================== =======================

Status: 0 done, 1 nobody acknowledged, 2 bad request.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable

from hil.errors import HilError
from hil.sim.part import Part, PartFault, Source, clamp
from hil.wires.wire import Wire

_DONE, _ABSENT, _BAD = 0, 1, 2


class Nack(HilError):
    """Nobody acknowledged on the bus."""


def crc8(data: bytes, polynomial: int = 0x31, crc: int = 0xFF) -> int:
    """CRC-8 of Sensirion (SHT3x datasheet, section 4.12): poly 0x31, start 0xFF, not reflected."""
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = ((crc << 1) ^ polynomial if crc & 0x80 else crc << 1) & 0xFF
    return crc


def crc8_maxim(data: bytes) -> int:
    """CRC-8 of 1-Wire (Maxim application note 27): poly 0x31 reflected (0x8C), start 0."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0x8C if crc & 1 else crc >> 1
    return crc


class Sht3x:
    """Sensirion SHT3x on I2C (datasheet version 7): single shot, status, soft reset.

    A read before the measurement is done is not acknowledged, as without clock stretching
    (section 4.4); ``measure_s`` is the duration of high repeatability (table 4: 15 ms).
    """

    ADDRESS = 0x44
    _SINGLE_SHOT = frozenset((0x2400, 0x240B, 0x2416, 0x2C06, 0x2C0D, 0x2C10))

    def __init__(
        self, source: Source, clock: Callable[[], float] = time.monotonic, measure_s: float = 0.015
    ) -> None:
        self.fault = PartFault.NONE
        self._source = source
        self._clock = clock
        self._measure_s = measure_s
        self._answer = b""
        self._ready = 0.0

    def words(self, *words: int) -> bytes:
        """Words as they are sent: high byte, low byte, CRC-8."""
        out = b""
        for word in words:
            raw = word.to_bytes(2, "big")
            crc = crc8(raw) ^ (0x55 if self.fault is PartFault.CHECKSUM else 0)
            out += raw + bytes((crc,))
        return out

    def write(self, data: bytes) -> None:
        """A command; raises Nack when the part does not answer."""
        if self.fault is PartFault.SILENT or len(data) < 2:
            raise Nack
        command = int.from_bytes(data[:2], "big")
        self._answer, self._ready = b"", self._clock()
        if command in self._SINGLE_SHOT:
            air = self._source.air()
            if air.temperature is None or air.humidity is None:
                return
            raw_t = clamp((air.temperature + 45) * 65535 / 175, 0, 65535)
            raw_h = clamp(air.humidity * 65535 / 100, 0, 65535)
            if self.fault is PartFault.SATURATED:
                raw_t = raw_h = 65535
            self._answer = self.words(raw_t, raw_h)
            self._ready += self._measure_s
        elif command == 0xF32D:
            self._answer = self.words(0x8010)

    def read(self, size: int) -> bytes:
        """The answer to the last command; raises Nack while there is none."""
        if self.fault is PartFault.SILENT or not self._answer or self._clock() < self._ready:
            raise Nack
        answer, self._answer = self._answer, b""
        return answer[:size].ljust(size, b"\xff")


class Ds18b20:
    """Maxim DS18B20 on 1-Wire (datasheet 19-7487): ROM commands, conversion, scratchpad.

    Until a conversion has ended the scratchpad holds the power-on value of 85 degrees.
    ``convert_s`` is the conversion time at 12 bit (750 ms).
    """

    POWER_ON = 0x0550

    def __init__(
        self,
        source: Source,
        serial: bytes = bytes.fromhex("1cb801000000"),
        clock: Callable[[], float] = time.monotonic,
        convert_s: float = 0.75,
    ) -> None:
        rom = b"\x28" + serial
        self.rom = rom + bytes((crc8_maxim(rom),))
        self.fault = PartFault.NONE
        self._source = source
        self._clock = clock
        self.convert_s = convert_s
        self._register = self.POWER_ON
        self._config = b"\x4b\x46\x7f"
        self._converting: float | None = None
        self._selected = False
        self._expect: list[bytes] = []
        self._out = b""

    def reset(self) -> bool:
        """Reset pulse: whether the part answers with its presence."""
        self._selected = False
        self._expect = []
        self._out = b""
        return self.fault is not PartFault.SILENT

    def write(self, data: bytes) -> None:
        """Bytes of the master: a ROM command, then a function command."""
        while data:
            if self._expect:
                taken = len(self._expect[0])
                self._arguments(data[:taken])
            elif self._selected:
                taken = self._function(data)
            else:
                taken = self._rom_command(data)
            data = data[taken:]

    def _arguments(self, data: bytes) -> None:
        wanted = self._expect[0]
        self._expect = [wanted[len(data) :]] if len(data) < len(wanted) else []
        if not wanted.startswith(data):
            self._expect = [b"\x00" * 1024]  # another part was meant: deaf until the next reset
        elif not self._expect:
            self._selected = True

    def _rom_command(self, data: bytes) -> int:
        if data[0] == 0xCC:
            self._selected = True
        elif data[0] == 0x33:
            self._out = self._spoil(self.rom)
            self._selected = True
        elif data[0] == 0x55:
            self._expect = [self.rom]
        return 1

    def _function(self, data: bytes) -> int:
        if data[0] == 0x44:
            self._converting = self._clock() + self.convert_s
        elif data[0] == 0xBE:
            self._out = self._spoil(self._scratchpad())
        elif data[0] == 0x4E:
            self._config = data[1:4].ljust(3, b"\x00")
            return 4
        return 1

    def _scratchpad(self) -> bytes:
        if self._converting is not None and self._clock() >= self._converting:
            self._converting = None
            self._register = clamp(self._source.water().temperature * 16, -880, 2000) & 0xFFFF
        if self.fault is PartFault.WARM_UP:
            self._register = self.POWER_ON
        elif self.fault is PartFault.SATURATED:
            self._register = 2001
        body = struct.pack("<H", self._register) + self._config + b"\xff\x0c\x10"
        return body + bytes((crc8_maxim(body),))

    def _spoil(self, answer: bytes) -> bytes:
        if self.fault is PartFault.CHECKSUM:
            return answer[:-1] + bytes((answer[-1] ^ 0x55,))
        return answer

    def read(self, size: int) -> bytes:
        """The next bytes the part sends; an idle line reads as ones, a busy one as zeros."""
        if self.fault is PartFault.SILENT:
            return b"\xff" * size
        if not self._out and self._converting is not None and self._clock() < self._converting:
            return bytes(size)
        out, self._out = self._out[:size], self._out[size:]
        return out.ljust(size, b"\xff")


class Adc:
    """The two analog probes, as raw readings at the default calibration of the water role.

    pH: 2048 at 7.00 and 1540 at 4.00; turbidity: 3400 at 0 NTU and 2000 at 1000 NTU.
    """

    def __init__(self, source: Source) -> None:
        self.fault = PartFault.NONE
        self._source = source

    def read(self, channel: int) -> int:
        """Raw reading 0..65535; raises Nack for a channel that is not there."""
        if self.fault is PartFault.SILENT or channel not in (0, 1):
            raise Nack
        if self.fault is PartFault.SATURATED:
            return 65535
        water = self._source.water()
        if channel == 0:
            return clamp(2048 + (water.ph - 7.0) * 508 / 3, 0, 65535)
        return clamp(3400 - water.turbidity * 1.4, 0, 65535)


class Bridge(Part):
    """One SHT3x, one DS18B20 and the ADC behind one path; each has its own ``fault``."""

    def __init__(self, source: Source, *, seed: int = 0, wire: Wire | None = None) -> None:
        super().__init__(source, seed=seed, wire=wire)
        self.sht3x = Sht3x(source)
        self.ds18b20 = Ds18b20(source)
        self.adc = Adc(source)
        self._buffer = b""

    def received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 2 and len(self._buffer) >= 2 + self._buffer[1]:
            end = 2 + self._buffer[1]
            operation, payload = self._buffer[:1], self._buffer[2:end]
            self._buffer = self._buffer[end:]
            self.requests += 1
            try:
                answer = self._operate(operation, payload)
            except Nack:
                self.send(bytes((_ABSENT, 0)))
            except IndexError:
                self.send(bytes((_BAD, 0)))
            else:
                self.send(bytes((_DONE, len(answer))) + answer)

    def _operate(self, operation: bytes, payload: bytes) -> bytes:
        """The answer's payload; Nack, or IndexError for a request that makes no sense."""
        if operation in (b"W", b"R"):
            if payload[0] != Sht3x.ADDRESS:
                raise Nack
            if operation == b"W":
                self.sht3x.write(payload[1:])
                return b""
            return self.sht3x.read(payload[1])
        if operation == b"O":
            return bytes((self.ds18b20.reset(),))
        if operation == b"o":
            self.ds18b20.write(payload)
            return b""
        if operation == b"i":
            return self.ds18b20.read(payload[0])
        if operation == b"A":
            return self.adc.read(payload[0]).to_bytes(2, "big")
        raise IndexError
