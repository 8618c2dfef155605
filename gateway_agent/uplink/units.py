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
    {"kg/m3": "1", "mg/L": "0.001", "mg/l": "0.001", "g/L": "1"},
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


# Molar volume of an ideal gas at 298.15 K and 1013.25 hPa in l/mol: R T / p with the SI's R. Gases
# are stated at these by GB 3095-2026; HJ 212 leaves the temperature to the platform.
REFERENCE_K: Final = Decimal("298.15")
_MOLAR_VOLUME: Final = Decimal("8.314462618") * REFERENCE_K / Decimal("101.325")


def is_gas_convertible(unit: str, to: str, molar_mass: Decimal | None) -> bool:
    """Return whether :func:`gas_converted` takes this pair of units."""
    try:
        gas_converted(Decimal(1), unit, to, molar_mass)
    except ValueError:
        return False
    return True


def gas_converted(
    value: Decimal, unit: str, to: str, molar_mass: Decimal | None, kelvin: Decimal = REFERENCE_K
) -> Decimal:
    """Return ``value`` in another unit; a share of a gas becomes a mass in a volume and back.

    ``molar_mass`` in g/mol; ``kelvin``: the temperature that the volume is stated at, at
    1013.25 hPa. ValueError as :func:`converted`, and where no molar mass is known.
    """
    if molar_mass is None or is_convertible(unit, to):
        return converted(value, unit, to)
    per_ppm = molar_mass / (_MOLAR_VOLUME * kelvin / REFERENCE_K)  # mg/m3
    if is_convertible(unit, "ppm") and is_convertible("mg/m3", to):
        return converted(converted(value, unit, "ppm") * per_ppm, "mg/m3", to)
    if is_convertible(unit, "mg/m3") and is_convertible("ppm", to):
        return converted(converted(value, unit, "mg/m3") / per_ppm, "ppm", to)
    return converted(value, unit, to)


def _times(value: Decimal, factor: str, *, is_inverse: bool = False) -> Decimal:
    over, _, under = factor.partition("/")
    up, down = Decimal(over), Decimal(under or "1")
    return value * down / up if is_inverse else value * up / down
