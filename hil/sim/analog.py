"""The analog probes of a water node, from physics to the converter at the board's pin.

Every number here is the probe's or the board's: none comes from the firmware or its settings, so a
wrong scale there gives wrong values here. A glass electrode gives 0 mV at pH 7 and 177.48 mV at
pH 4 (25 degC); the board of DFRobot's SEN0161-V2 amplifies that three times and adds 1500 mV.
The turbidity sensor is DFRobot's SEN0189 at 5 V: its published curve, NTU = -1120.4 V^2 + 5742.3 V
- 4352.9 for 2.5 V to 4.2 V, is read backwards. Reference and divider stand in board.toml, ``adc``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct

from hil.sim.part import FaultSwitch, NotAcknowledged, PartFault, Source, Water, clamp

_PH_4_MV: Final = 177.48
_AMPLIFIER: Final = 3
_AMPLIFIER_ZERO_MV: Final = 1500
_CURVE: Final = (-1120.4, 5742.3, -4352.9)


def ph_mv(water: Water) -> float:
    """Return what the pH amplifier puts out, in millivolts."""
    electrode = _PH_4_MV * (7 - water.ph) / (7 - 4)
    return _AMPLIFIER_ZERO_MV + _AMPLIFIER * electrode


def turbidity_mv(water: Water) -> float:
    """Return what the turbidity sensor puts out, in millivolts; its lowest beyond its range."""
    a, b, c = _CURVE
    root = math.sqrt(max(0.0, b * b - 4 * a * (c - water.turbidity)))
    return 1000 * (-b - root) / (2 * a)


PROBES: Final[Mapping[str, Callable[[Water], float]]] = {"ph": ph_mv, "turbidity": turbidity_mv}


class AnalogInput(Struct, frozen=True):
    """An entry of ``[adc]``: full scale in millivolts, resistors from probe to pin to ground."""

    reference_mv: float
    divider_ohm: tuple[float, float]

    def share(self, probe_mv: float) -> float:
        """Return which part of full scale stands at the pin, 0 to 1."""
        above, below = self.divider_ohm
        return min(max(probe_mv * below / (above + below) / self.reference_mv, 0.0), 1.0)

    def code(self, probe_mv: float) -> int:
        """Return the code of a 12 bit converter, 0 to 4095."""
        return min(int(self.share(probe_mv) * 4096), 4095)


class BridgedInput(AnalogInput, frozen=True):
    """An entry of a board whose converter is behind the bridge."""

    bridge_channel: int


class Adc:
    """The converter behind the bridge, as MicroPython's read_u16 has it, with the two probes."""

    fault = FaultSwitch(PartFault.SILENT, PartFault.SATURATED)

    def __init__(self, source: Source, inputs: Mapping[str, BridgedInput]) -> None:
        self._source = source
        self._inputs = {e.bridge_channel: (PROBES[name], e) for name, e in inputs.items()}

    def read(self, channel: int) -> int:
        """Return the raw reading, 0 to 65535. NotAcknowledged for a channel that is not there."""
        if self.fault is PartFault.SILENT or channel not in self._inputs:
            raise NotAcknowledged
        if self.fault is PartFault.SATURATED:
            return 65535
        probe, pin = self._inputs[channel]
        return clamp(pin.share(probe(self._source.water())) * 65535, 0, 65535)
