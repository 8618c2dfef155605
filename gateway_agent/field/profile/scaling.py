"""Exact scaling: what a raw value stands for, and which raw values lie within the bounds.

A person writes ``scale = 0.1`` and ``high = 0.3`` and means these decimals, so nothing here is
computed in binary fractions: bounds are brought to raw values once, as fractions, and a record
holds an integer and a power of ten.
"""

import math
import sys
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Final, NamedTuple

from protocols.uplink import MAX_NUMBER

from .codes import round_to
from .language import PointSpec
from .raw_types import FLOAT, TEXT, TIME, RawType

_MOST_EXP10: Final = 9  # of a record's numbers
LEAST_EXP10: Final = -_MOST_EXP10
_MS_EXP10: Final = -3
MIN_NUMBER: Final = -MAX_NUMBER - 1
_MAX_FLOAT: Final = sys.float_info.max
_EXACT_FACTOR: Final = 1 << 29  # times the 24 bits of an f32 it fits the 53 of a double


class Scaling(NamedTuple):
    """``value = (raw * factor + offset) * 10**exp10``, in integers."""

    factor: int
    offset: int
    exp10: int

    @property
    def as_fraction(self) -> Fraction:
        """Return what one step of the raw value is."""
        return Fraction(self.factor) * Fraction(10) ** self.exp10

    @property
    def offset_fraction(self) -> Fraction:
        """Return what is added."""
        return Fraction(self.offset) * Fraction(10) ** self.exp10


class RawLimits(NamedTuple):
    """The raw values that have a value to record, both ends included."""

    low: float
    high: float


def decimal_of(number: float) -> Decimal:
    """Return the decimal that a person wrote for this number."""
    return Decimal(number if isinstance(number, int) else repr(number)).normalize()


def scaling_of(point: PointSpec, raw: RawType) -> Scaling:
    """Return the scaling of a point. The record's power of ten is not capped yet."""
    if raw.kind == TIME:
        return Scaling(1, -point.utc_offset_min * 60_000, _MS_EXP10)
    factor, exp10 = _whole(decimal_of(point.scale))
    exp10 += point.exp10
    offset, offset_exp10 = _whole(decimal_of(point.offset))
    if offset and offset_exp10 < exp10:
        factor *= 10 ** (exp10 - offset_exp10)
        exp10 = offset_exp10
    elif offset:
        offset *= 10 ** (offset_exp10 - exp10)
    if exp10 > _MOST_EXP10:
        more = 10 ** (exp10 - _MOST_EXP10)
        factor, offset, exp10 = factor * more, offset * more, _MOST_EXP10
    return Scaling(factor, offset, exp10)


def _whole(number: Decimal) -> tuple[int, int]:
    """Return an integer and the power of ten, at most 0, that it has to be multiplied by."""
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)  # it is finite, see rules
    places = max(-exponent, 0)
    return int(number.scaleb(places)), -places


def record_exp10(point: PointSpec, raw: RawType) -> int:
    """Return the power of ten of the point's integers in records."""
    if raw.kind in (FLOAT, TEXT):
        return 0  # a float is its value already
    exp10 = scaling_of(point, raw).exp10
    return exp10 if exp10 >= LEAST_EXP10 else 0


def limits_of(point: PointSpec, raw: RawType, low: int, high: int) -> RawLimits:
    """Return the raw values within the bounds; ``low`` to ``high`` are those of the type.

    An integer that the record and the databases behind it cannot hold, because it has more than 63
    bits, lies beyond them. Nothing lies within them where the lower limit is above the upper one.
    """
    if raw.kind == FLOAT:
        return _float_limits(point, raw)
    scaling = scaling_of(point, raw)
    step, offset = scaling.as_fraction, scaling.offset_fraction
    ends: list[tuple[Fraction, Fraction]] = []
    if scaling.exp10 >= LEAST_EXP10:
        unit = Fraction(10) ** scaling.exp10
        ends.append((MIN_NUMBER * unit, MAX_NUMBER * unit))
    if point.scale_register is None:
        ends.append(_wanted(point))
    for lower, upper in ends:
        first, last = (lower - offset) / step, (upper - offset) / step
        if step < 0:
            first, last = last, first
        low, high = max(low, math.ceil(first)), min(high, math.floor(last))
    return RawLimits(low, high)


_FAR: Final = Fraction(10) ** 400


def _wanted(point: PointSpec) -> tuple[Fraction, Fraction]:
    low = -_FAR if point.low is None else Fraction(decimal_of(point.low))
    high = _FAR if point.high is None else Fraction(decimal_of(point.high))
    return low, high


def _float_limits(point: PointSpec, raw: RawType) -> RawLimits:
    """Return the limits, rounded as the device rounds its values: each bound is within them."""
    scaling = scaling_of(point, raw)
    step, offset = scaling.as_fraction, scaling.offset_fraction
    most = _MAX_FLOAT
    if scaling != Scaling(1, 0, 0):
        most /= 4 * max(1.0, float(abs(step)))
    if point.scale_register is not None:
        return RawLimits(-most, most)
    ends: list[float] = []
    for bound in _wanted(point):
        end = (bound - offset) / step
        if abs(end) < most:
            ends.append(round_to(float(end), raw))
        else:
            ends.append(most if end > 0 else -most)
    low, high = sorted(ends) if step < 0 else ends
    return RawLimits(max(low, -most), min(high, most))


def maker(scaling: Scaling, raw: RawType) -> Callable[[float], float] | None:
    """Return what turns a raw value into that of the record; None: it is the same."""
    factor, offset, exp10 = scaling
    if raw.kind == FLOAT:
        return _float_maker(scaling, raw)
    if exp10 < LEAST_EXP10:
        divisor = 10**-exp10
        return lambda value: (value * factor + offset) / divisor
    if factor == 1 and not offset:
        return None
    return lambda value: value * factor + offset


def _float_maker(scaling: Scaling, raw: RawType) -> Callable[[float], float] | None:
    factor, offset, exp10 = scaling
    if (factor, offset, exp10) == (1, 0, 0):
        return None
    up, down = 10 ** max(exp10, 0) * factor, 10 ** max(-exp10, 0)
    if not offset and (factor == 1 or raw.size < 8) and abs(up) < _EXACT_FACTOR and exp10 > -23:
        # Product and divisor are exact, so the result is the double nearest to the decimal.
        return lambda value: value * up / down
    step, add = scaling.as_fraction, scaling.offset_fraction
    return lambda value: float(Fraction(value) * step + add)
