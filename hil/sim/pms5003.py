"""Plantower PMS5003 (series manual V2.3, appendix I and II): active and passive mode.

A frame is 32 bytes, big endian: ``42 4D``, length 28, thirteen words of data, sum of the first 30
bytes. Commands are 7 bytes: ``42 4D``, code, two bytes of data, sum of the first five.
"""

from __future__ import annotations

import struct

from hil.sim.part import FaultSwitch, Part, PartFault, Source, clamp
from hil.wires.wire import Wire

_PASSIVE_ACTIVE = 0xE1
_READ = 0xE2
_SLEEP_WAKE = 0xE4
_COMMAND_BYTES = 7


class Pms5003(Part):
    """The part after power-on: awake, active mode, a frame every ``period_s`` seconds.

    The station measured PM2.5 only; PM1.0, PM10 and the counts are made from it by fixed ratios
    (0.6, 1.4 and 30 per ug/m3) and are no data of Chengdu. In an hour that the station missed
    this part is silent.
    """

    fault = FaultSwitch(*PartFault)

    def __init__(
        self, source: Source, *, period_s: float = 0.8, seed: int = 0, wire: Wire | None = None
    ) -> None:
        super().__init__(source, seed=seed, wire=wire)
        self.period_s = period_s
        self.active = True
        self.awake = True
        self._buffer = b""

    def start(self) -> None:
        super().start()
        self.every(self.period_s)

    def tick(self) -> None:
        if self.awake and self.active:
            self._measure()

    def frame(self, pm2_5: float) -> bytes:
        """Return the data frame for one PM2.5 value in ug/m3."""
        if self.fault is PartFault.SATURATED:
            words = [0xFFFF] * 12
        elif self.fault is PartFault.WARM_UP:
            words = [0] * 12
        else:
            masses = [clamp(pm2_5 * k, 0, 0xFFFF) for k in (0.6, 1.0, 1.4)]
            counts = [clamp(pm2_5 * k, 0, 0xFFFF) for k in (30, 9, 1.5, 0.15, 0.06, 0.03)]
            words = masses + masses + counts
        error = 1 if self.fault is PartFault.ERROR else 0
        body = struct.pack(">HH12HBB", 0x424D, 28, *words, 0x91, error)
        return body + struct.pack(">H", sum(body))

    def _measure(self) -> None:
        pm2_5 = self.source.air().pm2_5
        if pm2_5 is not None:
            self.send(self.frame(pm2_5))

    def received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            start = self._buffer.find(b"\x42\x4d")
            if start < 0:
                self._buffer = self._buffer[-1:]
                return
            command = self._buffer[start : start + _COMMAND_BYTES]
            if len(command) < _COMMAND_BYTES:
                self._buffer = self._buffer[start:]
                return
            if struct.unpack(">H", command[5:])[0] != sum(command[:5]):
                self._buffer = self._buffer[start + 1 :]
                continue
            self._buffer = self._buffer[start + _COMMAND_BYTES :]
            self._command(command)

    def _command(self, command: bytes) -> None:
        self.requests += 1
        code, value = command[2], command[4]
        if code == _PASSIVE_ACTIVE:
            self.active = bool(value)
            self._acknowledge(code, value)
        elif code == _SLEEP_WAKE:
            self.awake = bool(value)
            if not self.awake:
                self._acknowledge(code, value)
        elif code == _READ and self.awake and not self.active:
            self._measure()

    def _acknowledge(self, code: int, value: int) -> None:
        """Send the 8 byte answer to a mode command: length 4, the command's code and value."""
        body = struct.pack(">HHBB", 0x424D, 4, code, value)
        self.send(body + struct.pack(">H", sum(body)))
