"""How long each unit of a bus may take to answer, and which pause it needs."""

from collections.abc import Iterable
from typing import NamedTuple

from gateway_agent.config import Bus, Device

from .planner import request_ms


class UnitPace(NamedTuple):
    """How long one unit may take, and which pause it needs."""

    timeout_ms: int
    fixed_s: float  # from the request's first byte to the time-out of an answer without data
    gap_s: float  # from the end of its last request to the next one

    @classmethod
    def of(cls, bus: Bus, timeouts_ms: Iterable[int], gaps_ms: Iterable[int]) -> "UnitPace":
        """Return the pace of a unit; of several devices with one unit the slowest counts."""
        timeout_ms = max(timeouts_ms)
        fixed_ms = request_ms(bus) + timeout_ms + 2 * bus.silence_ms
        gap_ms = max((bus.request_gap_ms, *gaps_ms))
        return cls(timeout_ms, fixed_ms / 1000, gap_ms / 1000)


def paces_of(bus: Bus) -> dict[int, UnitPace]:
    """Return the pace of each unit that the bus names."""
    units: dict[int, list[Device]] = {}
    for device in bus.device:
        units.setdefault(device.unit, []).append(device)
    return {
        unit: UnitPace.of(
            bus,
            (device.timeout_ms or bus.timeout_ms for device in devices),
            (device.request_gap_ms for device in devices),
        )
        for unit, devices in units.items()
    }
