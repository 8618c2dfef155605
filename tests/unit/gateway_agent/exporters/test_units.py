"""Conversions are exact, and pairs that measure different things are refused."""

from decimal import Decimal

import pytest

from gateway_agent.uplink.units import converted, is_convertible


@pytest.mark.parametrize(
    ("value", "unit", "to", "expected"),
    [
        ("1953", "mm", "m", "1.953"),
        ("1013.2", "hPa", "kPa", "101.32"),
        ("101325", "Pa", "hPa", "1013.25"),
        ("0.035", "mg/m3", "ug/m3", "35"),
        ("8.3", "mg/L", "kg/m3", "0.0083"),
        ("36", "km/h", "m/s", "10"),
        ("1413", "uS/cm", "S/m", "0.1413"),
        ("12070", "mV", "V", "12.07"),
        ("45", "/100", "%", "45"),
        ("21.5", "Cel", "Cel", "21.5"),
        ("7", "", "", "7"),
    ],
)
def test_a_value_in_another_unit(value: str, unit: str, to: str, expected: str) -> None:
    assert converted(Decimal(value), unit, to) == Decimal(expected)


@pytest.mark.parametrize(("unit", "to"), [("ug/m3", "ppm"), ("", "m"), ("Cel", "K"), ("V", "A")])
def test_what_measures_another_thing_is_refused(unit: str, to: str) -> None:
    assert not is_convertible(unit, to)
    with pytest.raises(ValueError, match="a unit that becomes"):
        converted(Decimal(1), unit, to)
