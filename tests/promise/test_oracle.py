"""The oracle itself, on books made by hand: what fits is no violation, and each lie is one."""

from collections.abc import Sequence

import pytest

from protocols.uplink import Gap

from .oracle import violations
from .site import Account

PERIOD_MS = 200
BEGIN_MS = 10_000
LATE_MS = (3, 9, 4, 150, 5, 7, 3, 260, 12, 4, 5, 6)  # how long after its slot each value is served
TIMES = [BEGIN_MS + PERIOD_MS * slot + late for slot, late in enumerate(LATE_MS)]
WHOLE = list(range(len(TIMES)))


def gap(cause: str, first: int, last: int, slots: int | None = None) -> Gap:
    """A gap that names the slots ``first`` to ``last``."""
    count = last - first + 1 if slots is None else slots
    begin, end = BEGIN_MS + PERIOD_MS * first, BEGIN_MS + PERIOD_MS * last
    return Gap(cause, None, None, None, "", count, begin, end)


def found(values: Sequence[int], *gaps: Gap, forgets: bool = False) -> list[str]:
    account = Account(list(values), list(gaps))
    return violations(account, TIMES, BEGIN_MS, PERIOD_MS, None, forgets)


def without(*slots: int) -> list[int]:
    return [value for value in WHOLE if value not in slots]


def test_what_fits() -> None:
    assert found(WHOLE) == []
    assert found(without(4, 5, 6), gap("gateway_down", 4, 6)) == []
    assert found(without(2, 9), gap("bus_timeout", 2, 2), gap("gateway_down", 9, 9)) == []
    assert found(without(2, 6), gap("bus_busy", 2, 6, slots=2)) == []
    assert found(WHOLE, gap("bus_busy", -1, -1)) == []
    # What passes after the last stored value is named, and stored or not, later.
    assert found(without(10, 11), gap("gateway_down", 10, 11)) == []


@pytest.mark.parametrize(
    ("values", "gaps", "what"),
    [
        (without(4), [], "neither stored nor named"),
        (without(4, 5), [gap("gateway_down", 4, 4)], "neither stored nor named"),
        (without(4), [gap("bus_busy", 4, 6, slots=2)], "neither stored nor named"),
        (without(4), [gap("gateway_down", 3, 4)], "a gap names that slot"),
        (without(4), [gap("gateway_down", 4, 4), gap("bus_timeout", 1, 1)], "none was promised"),
        (WHOLE, [gap("gateway_down", -20, -19)], "none was promised"),
        (without(4), [gap("gateway_down", 4, 4)] * 2, "named twice"),
        (without(4), [gap("gateway_down", 4, 4, slots=2)], "does not fit its times"),
        (without(4), [Gap("gateway_down", None, None, None, "")], "no exact count"),
        ([*WHOLE, 11], [], "stored twice"),
        ([*WHOLE, 12], [], "never served"),
        ([], [], "no value"),
    ],
)
def test_what_does_not_fit(values: list[int], gaps: list[Gap], what: str) -> None:
    assert any(what in violation for violation in found(values, *gaps))


def test_a_gateway_without_memory_may_name_too_much_and_never_too_little() -> None:
    gaps = [gap("gateway_down", 3, 6), gap("gateway_down", 4, 8)]
    assert found(without(6, 7), *gaps, forgets=True) == []
    assert found(without(6, 7, 9), *gaps, forgets=True)


def test_what_a_gap_names_by_records_counts_as_named() -> None:
    lost = Account([4], [gap("bus_timeout", 7, 7)])
    account = Account(without(4, 7), [])
    assert violations(account, TIMES, BEGIN_MS, PERIOD_MS, lost) == []
    account = Account(without(7), [])
    assert any("their records" in v for v in violations(account, TIMES, BEGIN_MS, PERIOD_MS, lost))
