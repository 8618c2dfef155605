"""One table of how units of points become units of platforms, with exact factors.

Wrong conversions are how values of right sensors arrive wrong. So a pair of units that is not here
is refused when the configuration is read, and no code elsewhere multiplies.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

# Units of one quantity, each as so many of its first one. Names are SenML's (RFC 8428, RFC 8798)
# and those of platforms beside them.
_QUANTITIES: Final[tuple[Mapping[str, str], ...]] = (
    {"m": "1", "mm": "0.001", "cm": "0.01", "km": "1000"},
    {"Pa": "1", "hPa": "100", "kPa": "1000"},
    {"ug/m3": "1", "mg/m3": "1000", "g/m3": "1000000"},
    {"kg/m3": "1", "mg/L": "0.001", "g/L": "1"},
    {"m3/s": "1", "l/s": "0.001", "L/s": "0.001"},
    {"m/s": "1", "km/h": "1/3.6"},
    {"S/m": "1", "mS/cm": "0.1", "uS/cm": "0.0001"},
    {"V": "1", "mV": "0.001"},
    {"A": "1", "mA": "0.001"},
    {"/": "1", "/100": "0.01", "%": "0.01"},
    {"ppm": "1", "ppb": "0.001"},
)
_FACTORS: Final = {
    unit: (number, factor)
    for number, quantity in enumerate(_QUANTITIES)
    for unit, factor in quantity.items()
}


def is_convertible(unit: str, to: str) -> bool:
    """Return whether :func:`converted` takes this pair of units."""
    if unit == to:
        return True
    one, other = _FACTORS.get(unit), _FACTORS.get(to)
    return one is not None and other is not None and one[0] == other[0]


def converted(value: Decimal, unit: str, to: str) -> Decimal:
    """Return ``value`` in another unit, exactly. ValueError: the two measure different things."""
    if unit == to:
        return value
    if not is_convertible(unit, to):
        raise ValueError(
            f"a unit that becomes {to or 'none'!r} was expected, got {unit or 'none'!r}"
        )
    return _times(_times(value, _FACTORS[unit][1]), _FACTORS[to][1], is_inverse=True)


def _times(value: Decimal, factor: str, *, is_inverse: bool = False) -> Decimal:
    over, _, under = factor.partition("/")
    up, down = Decimal(over), Decimal(under or "1")
    return value * down / up if is_inverse else value * up / down
