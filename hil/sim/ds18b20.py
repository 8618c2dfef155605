"""Maxim DS18B20 on 1-Wire, as its datasheet has it, for boards whose 1-Wire bus is bridged."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable

from hil.sim.part import FaultSwitch, PartFault, Source, clamp


def crc8_maxim(data: bytes) -> int:
    """Return the CRC-8 of 1-Wire (Maxim application note 27): poly 0x31 reflected, start 0."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0x8C if crc & 1 else crc >> 1
    return crc


class Ds18b20:
    """Maxim DS18B20 on 1-Wire (datasheet 19-7487): ROM commands, conversion, scratchpad.

    Until a conversion has ended the scratchpad holds the power-on value of 85 degrees.
    ``convert_s`` is the conversion time at 12 bit (750 ms).
    """

    fault = FaultSwitch(
        PartFault.CHECKSUM, PartFault.SILENT, PartFault.SATURATED, PartFault.WARM_UP
    )

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
        """Take a reset pulse; return True if the part answers with its presence pulse."""
        self._selected = False
        self._expect = []
        self._out = b""
        return self.fault is not PartFault.SILENT

    def write(self, data: bytes) -> None:
        """Take bytes of the master: a ROM command, then a function command."""
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
            # The master addresses another part: ignore everything until a reset.
            self._expect = [b"\x00" * 1024]
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
        """Return the next bytes; an idle line reads as ones, a busy part as zeros."""
        if self.fault is PartFault.SILENT:
            return b"\xff" * size
        if not self._out and self._converting is not None and self._clock() < self._converting:
            return bytes(size)
        out, self._out = self._out[:size], self._out[size:]
        return out.ljust(size, b"\xff")
