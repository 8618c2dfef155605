"""Each point of each role has a code whose unit its value becomes, or a reason why it has none."""

from decimal import Decimal

import pytest

from gateway_agent.uplink.hj212.codes import CODES, POINTS, WITHOUT_CODE, in_code, written
from gateway_agent.uplink.units import gas_converted
from protocols.wire.registers import MAPS

K25 = Decimal("298.15")


@pytest.mark.parametrize("role", MAPS, ids=lambda role: role.role)
def test_every_point_has_a_code_or_a_reason(role) -> None:  # type: ignore[no-untyped-def] # a map
    for point in role.points:
        key = (role.role, point.name)
        assert (key in POINTS) != (key in WITHOUT_CODE), key
        if key in POINTS:
            wanted = POINTS[key]
            assert bool(point.unit) != bool(wanted.unit), "the unit stands in one place"
            code = CODES[wanted.code]
            for raw in (point.low, point.high):
                value = Decimal(raw).scaleb(point.exp10)
                text = written(in_code(value, point.unit or wanted.unit, code, K25), code.digits)
                assert Decimal(text).is_finite()


def test_nothing_is_named_that_no_node_has() -> None:
    names = {(role.role, point.name) for role in MAPS for point in role.points}
    assert names == set(POINTS) | set(WITHOUT_CODE)
    assert len({(role, POINTS[role, name].code) for role, name in POINTS}) == len(POINTS)


@pytest.mark.parametrize(
    ("role", "point", "value", "expected"),
    [
        ("air", "pm2_5", "35", "35"),
        ("air", "co2", "420", "755.5"),  # 420 x 44.010 / 24.4654 = 755.5
        ("air", "temperature", "-3.25", "-3.2"),  # half to even
        ("air", "temperature", "-0.04", "0.0"),
        ("air", "humidity", "49.25", "49.2"),
        ("water", "ph", "7.15", "7.15"),
        ("water", "turbidity_ntu", "13.1", "13.1"),
        ("water", "temperature", "9.75", "9.8"),
    ],
)
def test_values_of_nodes(role: str, point: str, value: str, expected: str) -> None:
    units = {(m.role, p.name): p.unit for m in MAPS for p in m.points}
    wanted = POINTS[role, point]
    code = CODES[wanted.code]
    unit = units[role, point] or wanted.unit
    assert written(in_code(Decimal(value), unit, code, K25), code.digits) == expected


def test_gases_at_their_temperature() -> None:
    """Expected by hand: ppb x M / 24.465 at 25 degC, x M / 22.414 at 0 degC (GB 3095-2026)."""
    ozone = CODES["a05024"]
    assert abs(in_code(Decimal(100), "ppb", ozone, K25) - Decimal("196.19")) < Decimal("0.01")
    cold = in_code(Decimal(100), "ppb", ozone, Decimal("273.15"))
    assert abs(cold - Decimal("214.15")) < Decimal("0.01")
    carbon = CODES["a21005"]
    assert abs(in_code(Decimal(1), "ppm", carbon, K25) - Decimal("1.14490")) < Decimal("0.0001")
    back = gas_converted(Decimal("196.19"), "ug/m3", "ppb", ozone.molar_mass)
    assert abs(back - 100) < Decimal("0.01")


def test_kpa_and_hpa() -> None:
    assert written(in_code(Decimal("1013.2"), "hPa", CODES["a01006"], K25), 3) == "101.320"


@pytest.mark.parametrize(
    ("code", "unit"),
    [("a34004", "ppb"), ("a21026", "Cel"), ("a01006", "ug/m3"), ("w01018", "ppm"), ("LA", "")],
)
def test_units_that_measure_something_else_are_refused(code: str, unit: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        in_code(Decimal(1), unit, CODES[code], K25)


def test_every_code_names_its_source() -> None:
    for code, row in CODES.items():
        assert code == row.code
        assert "annex B" in row.source or "implementations" in row.source
        assert row.chinese
        assert row.digits >= 0
