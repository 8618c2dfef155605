"""A02YYUW ultrasonic distance sensor, UART automatic output (DFRobot SEN0311 wiki).

``FF``, distance in mm big endian, low byte of the sum of the first three.
"""

from __future__ import annotations

from hil.sim.part import BYTE_FAULTS, FaultSwitch, Part, PartFault, Source, clamp
from hil.wires.wire import Wire

# Nearer than this the part cannot measure; it then sends a number that is no distance.
_BLIND_MM = 30
_TOP_MM = 4500


class A02yyuw(Part):
    """Send a frame every ``period_s`` seconds, as the real one does with its input left open."""

    fault = FaultSwitch(*BYTE_FAULTS, PartFault.SATURATED)

    def __init__(
        self, source: Source, *, period_s: float = 0.1, seed: int = 0, wire: Wire | None = None
    ) -> None:
        super().__init__(source, seed=seed, wire=wire)
        self.period_s = period_s

    def start(self) -> None:
        super().start()
        self.every(self.period_s)

    def received(self, data: bytes) -> None:
        # Its input only chooses between raw and filtered output.
        self.requests += len(data)

    def tick(self) -> None:
        distance = clamp(self.source.water().distance, 0, _TOP_MM)
        if self.fault is PartFault.SATURATED:
            distance = _BLIND_MM - 1
        body = bytes((0xFF, distance >> 8, distance & 0xFF))
        self.send(body + bytes((sum(body) & 0xFF,)))
