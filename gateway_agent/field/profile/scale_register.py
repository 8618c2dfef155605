"""Values that a register of the device scales by a power of ten, as SunSpec models have it."""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Final, NamedTuple, TypeAlias

from protocols.uplink import MAX_NUMBER, DecimalFraction

from .points import OUT_OF_RANGE, REPORTS_FAULT, ProfilePoint, Value
from .raw_types import FLOAT
from .scaling import MIN_NUMBER, decimal_of, scaling_of

MOST_POWER: Final = 10  # SunSpec: a scale register holds -10 to 10, or 0x8000 for "none"
_MOST_EXP10: Final = 9

# From a value and the scale register's content.
Apply: TypeAlias = Callable[[Value, int], Value]


class _Power(NamedTuple):
    """What one content of the scale register means: limits, a factor, the power of the record."""

    low: float
    high: float
    factor: int
    exp10: int


def scaler(point: ProfilePoint) -> Apply:
    """Return the function that scales the point's values. Each power is prepared once."""
    spec = point.spec
    low = None if spec.low is None else Fraction(decimal_of(spec.low))
    high = None if spec.high is None else Fraction(decimal_of(spec.high))
    exp10 = 0 if point.raw.kind == FLOAT else scaling_of(spec, point.raw).exp10
    powers: dict[int, _Power] = {}

    def prepare(power: int) -> _Power:
        step = Fraction(10) ** (exp10 + power)
        least = MIN_NUMBER if low is None else math.ceil(low / step)
        most = MAX_NUMBER if high is None else math.floor(high / step)
        own = exp10 + power
        factor = 10 ** max(own - _MOST_EXP10, 0)
        if factor > 1:
            least, most = max(least, -(MAX_NUMBER // factor)), min(most, MAX_NUMBER // factor)
        return _Power(least, most, factor, min(own, _MOST_EXP10))

    def apply(value: Value, power: int) -> Value:
        if not -MOST_POWER <= power <= MOST_POWER:
            return REPORTS_FAULT
        if isinstance(value, float):
            return _floating(value, power)
        assert isinstance(value, int)  # rules: nothing else has a scale register
        rule = powers.get(power)
        if rule is None:
            rule = powers[power] = prepare(power)
        if not rule.low <= value <= rule.high:
            return OUT_OF_RANGE
        if rule.exp10 == point.exp10:
            return value * rule.factor
        if rule.exp10 < -_MOST_EXP10:
            return value / float(10**-rule.exp10)
        return DecimalFraction(value * rule.factor, rule.exp10)

    def _floating(value: float, power: int) -> Value:
        scaled = value * float(10**power) if power >= 0 else value / float(10**-power)
        if not math.isfinite(scaled):
            return OUT_OF_RANGE
        exact = Fraction(value) * Fraction(10) ** power
        if (low is not None and exact < low) or (high is not None and exact > high):
            return OUT_OF_RANGE
        return scaled

    return apply
