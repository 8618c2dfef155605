"""Winsen MH-Z19B (user's manual V1.4, UART commands): 9 byte commands and answers."""

from __future__ import annotations

from hil.sim.part import BYTE_FAULTS, FaultSwitch, Part, PartFault, Source, clamp
from hil.wires.wire import Wire

_FRAME = 9
_READ = 0x86
_ABC = 0x79
# What the part shows until its lamp is warm.
_WARM_UP_PPM = 400


def checksum(frame: bytes) -> int:
    """Return the two's complement of the sum of bytes 1 to 7."""
    return -sum(frame[1:8]) & 0xFF


class Mhz19b(Part):
    """Answer command 86 with the concentration; take 79 (ABC), 87 and 88 (calibration).

    ``scale`` is the top of its range in ppm (2000 or 5000).
    """

    fault = FaultSwitch(*BYTE_FAULTS, PartFault.SATURATED, PartFault.WARM_UP)

    def __init__(
        self, source: Source, *, scale: int = 5000, seed: int = 0, wire: Wire | None = None
    ) -> None:
        super().__init__(source, seed=seed, wire=wire)
        self.scale = scale
        self.abc = True
        self._buffer = b""

    def received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= _FRAME:
            frame = self._buffer[:_FRAME]
            if frame[0] != 0xFF or frame[8] != checksum(frame):
                self._buffer = self._buffer[1:]
                continue
            self._buffer = self._buffer[_FRAME:]
            self._command(frame)

    def _command(self, frame: bytes) -> None:
        self.requests += 1
        if frame[2] == _ABC:
            self.abc = frame[3] == 0xA0
        elif frame[2] == _READ:
            air = self.source.air()
            if air.co2 is None:
                return
            ppm = clamp(air.co2, 0, self.scale)
            if self.fault is PartFault.SATURATED:
                ppm = self.scale
            elif self.fault is PartFault.WARM_UP:
                ppm = _WARM_UP_PPM
            celsius = clamp(air.temperature or 0, -40, 215)
            body = bytes((0xFF, _READ, ppm >> 8, ppm & 0xFF, celsius + 40, 0, 0, 0))
            self.send(body + bytes((checksum(body),)))
