"""Values that a register of the device scales by a power of ten, as SunSpec models have it."""

import math
from fractions import Fraction
from typing import Final, NamedTuple

from protocols.uplink import MAX_NUMBER

from .points import OUT_OF_RANGE, REPORTS_FAULT, ProfilePoint, Value
from .raw_types import FLOAT
from .scaling import LEAST_EXP10, MIN_NUMBER, decimal_of, scaling_of

MOST_POWER: Final = 10  # SunSpec: a scale register holds -10 to 10, or 0x8000 for "none"


class PowerOfTen(NamedTuple):
    """What one content of the scale register means for the integers of a point.

    ``exp10``: that of the record's number; None: that which the point has anyway.
    """

    low: float
    high: float
    factor: int
    exp10: int | None


class ScaleRule:
    """Scales the values of one point."""

    def __init__(self, point: ProfilePoint) -> None:
        spec = point.spec
        self._low = None if spec.low is None else Fraction(decimal_of(spec.low))
        self._high = None if spec.high is None else Fraction(decimal_of(spec.high))
        self._point = point
        self._exp10 = 0 if point.raw.kind == FLOAT else scaling_of(spec, point.raw).exp10

    def power(self, content: int) -> PowerOfTen | None:
        """Return what the register's content means; None where a record has a float, or a fault."""
        exp10 = self._exp10 + content
        if not -MOST_POWER <= content <= MOST_POWER or exp10 < LEAST_EXP10:
            return None
        step = Fraction(10) ** exp10
        low = MIN_NUMBER if self._low is None else math.ceil(self._low / step)
        high = MAX_NUMBER if self._high is None else math.floor(self._high / step)
        factor = 10 ** max(exp10 + LEAST_EXP10, 0)
        exp10 = min(exp10, -LEAST_EXP10)
        if factor > 1:
            low, high = max(low, -(MAX_NUMBER // factor)), min(high, MAX_NUMBER // factor)
        return PowerOfTen(low, high, factor, None if exp10 == self._point.exp10 else exp10)

    def apply(self, value: Value, content: int) -> Value:
        """Return the scaled value where :meth:`power` returns None, or the value is a float."""
        if not -MOST_POWER <= content <= MOST_POWER or not isinstance(value, int | float):
            return REPORTS_FAULT
        power = content if isinstance(value, float) else content + self._exp10
        scaled = value * float(10**power) if power >= 0 else value / float(10**-power)
        exact = Fraction(value) * Fraction(10) ** power
        if (
            not math.isfinite(scaled)
            or (self._low is not None and exact < self._low)
            or (self._high is not None and exact > self._high)
        ):
            return OUT_OF_RANGE
        return scaled
