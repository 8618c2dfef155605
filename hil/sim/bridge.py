"""The far end of the bridge that stands for I2C, 1-Wire and ADC, and the parts on those buses.

A host has none of these buses; the node's board package sends each bus operation over one wire:
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

Status: 0 done, 1 not acknowledged, 2 bad request.
"""

from __future__ import annotations

from collections.abc import Mapping

from hil.sim.analog import Adc, BridgedInput
from hil.sim.ds18b20 import Ds18b20
from hil.sim.part import NotAcknowledged, Part, Source
from hil.sim.sht3x import Sht3x
from hil.wires.wire import Wire

_DONE, _ABSENT, _BAD = 0, 1, 2


class BridgedParts(Part):
    """One SHT3x, one DS18B20 and the ADC on one wire; each has its own ``fault``.

    ``inputs`` is what the board has at its converter: the table ``adc`` of its board.toml.
    """

    def __init__(
        self,
        source: Source,
        inputs: Mapping[str, BridgedInput],
        *,
        seed: int = 0,
        wire: Wire | None = None,
    ) -> None:
        super().__init__(source, seed=seed, wire=wire)
        self.sht3x = Sht3x(source)
        self.ds18b20 = Ds18b20(source)
        self.adc = Adc(source, inputs)
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
            except NotAcknowledged:
                self.send(bytes((_ABSENT, 0)))
            except IndexError:
                self.send(bytes((_BAD, 0)))
            else:
                self.send(bytes((_DONE, len(answer))) + answer)

    def _operate(self, operation: bytes, payload: bytes) -> bytes:
        """Return the answer's payload. NotAcknowledged; IndexError for a request that is none."""
        if operation in (b"W", b"R"):
            if payload[0] != Sht3x.ADDRESS:
                raise NotAcknowledged
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
