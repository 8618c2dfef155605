"""The class of surface water by GB 3838-2002, table 1: the worst of what was measured decides.

Turbidity, conductivity and temperature have no limit there and decide nothing.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final, NamedTuple

#: Classes I to V; a class of 6 is worse than V (劣V).
WORSE_THAN_V: Final = 6
ROMAN: Final = ("I", "II", "III", "IV", "V", "worse than V")

PH: Final = "pH"
DISSOLVED_OXYGEN: Final = "dissolved oxygen"

# Limits of I to V in mg/L: what is not above a limit has its class.
_HIGHEST: Final[Mapping[str, tuple[str, ...]]] = {
    "permanganate index": ("2", "4", "6", "10", "15"),
    "chemical oxygen demand": ("15", "15", "20", "30", "40"),
    "five-day oxygen demand": ("3", "3", "4", "6", "10"),
    "ammonia nitrogen": ("0.15", "0.5", "1.0", "1.5", "2.0"),
    "total phosphorus": ("0.02", "0.1", "0.2", "0.3", "0.4"),
    "total phosphorus of a lake": ("0.01", "0.025", "0.05", "0.1", "0.2"),
    "total nitrogen of a lake": ("0.2", "0.5", "1.0", "1.5", "2.0"),
}
_LOWEST_OXYGEN: Final = ("7.5", "6", "5", "3", "2")
_PH_RANGE: Final = (Decimal(6), Decimal(9))


class WaterClass(NamedTuple):
    """A class of 1 (I) to 6 (worse than V), and the factors that decided it."""

    number: int
    deciding: tuple[str, ...]


def class_of_factor(factor: str, value: Decimal) -> int | None:
    """Return the class of one factor in mg/L (pH: without a unit); None: it has no limit."""
    if factor == PH:
        low, high = _PH_RANGE
        return 1 if low <= value <= high else WORSE_THAN_V
    if factor == DISSOLVED_OXYGEN:
        passed = (n for n, limit in enumerate(_LOWEST_OXYGEN, 1) if value >= Decimal(limit))
        return next(passed, WORSE_THAN_V)
    limits = _HIGHEST.get(factor)
    if limits is None:
        return None
    return next((n for n, limit in enumerate(limits, 1) if value <= Decimal(limit)), WORSE_THAN_V)


def water_class(values: Mapping[str, Decimal]) -> WaterClass | None:
    """Return the class of water of the factors that were measured; None: none of them has a limit.

    A class from few factors is the best that the water can be, not what it is.
    """
    classes = {factor: class_of_factor(factor, value) for factor, value in values.items()}
    judged = {factor: number for factor, number in classes.items() if number is not None}
    if not judged:
        return None
    worst = max(judged.values())
    return WaterClass(worst, tuple(f for f, number in judged.items() if number == worst))
