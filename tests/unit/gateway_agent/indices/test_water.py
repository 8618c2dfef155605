"""Classes of water at and beside each limit of GB 3838-2002, table 1."""

from decimal import Decimal

import pytest

from gateway_agent.indices.water import class_of_factor, water_class


@pytest.mark.parametrize(
    ("factor", "value", "number"),
    [
        ("pH", "6", 1),
        ("pH", "9.01", 6),
        ("pH", "5.99", 6),
        ("dissolved oxygen", "7.5", 1),
        ("dissolved oxygen", "7.49", 2),
        ("dissolved oxygen", "2", 5),
        ("dissolved oxygen", "1.99", 6),
        ("ammonia nitrogen", "0.15", 1),
        ("ammonia nitrogen", "0.151", 2),
        ("ammonia nitrogen", "2.01", 6),
        ("chemical oxygen demand", "15", 1),
        ("chemical oxygen demand", "15.1", 3),
        ("total phosphorus", "0.2", 3),
        ("total phosphorus of a lake", "0.2", 5),
    ],
)
def test_class_of_one_factor(factor: str, value: str, number: int) -> None:
    assert class_of_factor(factor, Decimal(value)) == number


def test_the_worst_factor_decides_and_what_has_no_limit_does_not() -> None:
    values = {"pH": Decimal(7), "permanganate index": Decimal(5), "turbidity": Decimal(900)}
    assert water_class(values) == (3, ("permanganate index",))
    assert water_class({"turbidity": Decimal(900)}) is None
