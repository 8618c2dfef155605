"""Sensirion SHT3x on I2C, as its datasheet has it, for boards whose I2C bus is bridged."""

from __future__ import annotations

import time
from collections.abc import Callable

from hil.sim.part import FaultSwitch, NotAcknowledged, PartFault, Source, clamp


def crc8(data: bytes, polynomial: int = 0x31, crc: int = 0xFF) -> int:
    """Return Sensirion's CRC-8 (SHT3x datasheet, 4.12): poly 0x31, start 0xFF, not reflected."""
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = ((crc << 1) ^ polynomial if crc & 0x80 else crc << 1) & 0xFF
    return crc


class Sht3x:
    """Sensirion SHT3x on I2C (datasheet version 7): single shot, status, soft reset.

    A read before the measurement is done is not acknowledged, as without clock stretching
    (section 4.4); ``measure_s`` is the duration of high repeatability (table 4: 15 ms).
    """

    fault = FaultSwitch(PartFault.CHECKSUM, PartFault.SILENT, PartFault.SATURATED)

    ADDRESS = 0x44
    _SINGLE_SHOT = frozenset((0x2400, 0x240B, 0x2416, 0x2C06, 0x2C0D, 0x2C10))

    def __init__(
        self, source: Source, clock: Callable[[], float] = time.monotonic, measure_s: float = 0.015
    ) -> None:
        self._source = source
        self._clock = clock
        self._measure_s = measure_s
        self._answer = b""
        self._ready = 0.0

    def words(self, *words: int) -> bytes:
        """Return words as the part sends them: high byte, low byte, CRC-8."""
        out = b""
        for word in words:
            raw = word.to_bytes(2, "big")
            crc = crc8(raw) ^ (0x55 if self.fault is PartFault.CHECKSUM else 0)
            out += raw + bytes((crc,))
        return out

    def write(self, data: bytes) -> None:
        """Take a command. NotAcknowledged if the part is silent."""
        if self.fault is PartFault.SILENT or len(data) < 2:
            raise NotAcknowledged
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
        """Return the answer to the last command. NotAcknowledged while there is none."""
        if self.fault is PartFault.SILENT or not self._answer or self._clock() < self._ready:
            raise NotAcknowledged
        answer, self._answer = self._answer, b""
        return answer[:size].ljust(size, b"\xff")
