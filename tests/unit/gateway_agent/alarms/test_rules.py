"""What each rule says of values, silence and figures of the gateway."""

from collections.abc import Mapping

import pytest

from gateway_agent.alarms.rules import (
    Above,
    AlarmRule,
    Below,
    BusBusy,
    Changing,
    DeviceView,
    GatewayView,
    Gauge,
    NoValue,
    Silent,
    Stuck,
)

ABOVE = Above(name="a", device="d", point="p", limit=80, hysteresis=5)
BELOW = Below(name="a", device="d", point="p", limit=10, hysteresis=2)


def values(*found: float | None, step_ms: int = 1000) -> list[GatewayView]:
    """Return a moment for each value of d's point p."""
    return [
        GatewayView({"d": DeviceView(0, {"p": value})}, {}, at * step_ms)
        for at, value in enumerate(found)
    ]


@pytest.mark.parametrize(
    ("rule", "views", "expected"),
    [
        (ABOVE, values(80, 80.1, 76, 75, 76), [False, True, True, False, False]),
        (ABOVE, values(90, None, 90), [True, None, True]),
        (BELOW, values(10, 9, 11.9, 12), [False, True, True, False]),
        (
            Changing(name="c", device="d", point="p", per_minute=30, window_s=2),
            values(0, 0.5, 1.0, 2.1, 3.2, 3.3),
            [None, None, False, True, True, True],
        ),
        (
            Stuck(name="s", device="d", point="p", for_s=2, within=0.1),
            values(5, 5.1, 5, 5, 6, 6),
            [None, None, True, True, False, False],
        ),
        (
            Stuck(name="s", device="d", point="p", for_s=1),
            values(5, None, 5, 5),
            [None, None, None, True],
        ),
        (NoValue(name="n", device="d", point="p"), values(1, None, 1), [False, True, False]),
        (NoValue(name="n", device="d", point="other"), values(1), [None]),
        (ABOVE, [GatewayView({}, {}, 0)], [None]),
    ],
)
def test_what_a_rule_says(
    rule: AlarmRule, views: list[GatewayView], expected: list[bool | None]
) -> None:
    judge = rule.start()
    assert [judge.judge(view) for view in views] == expected


def test_a_bus_is_busy_by_the_share_of_the_time_that_it_was_used() -> None:
    judge = BusBusy(name="b", bus="roof", above=0.8, window_s=10).start()
    used = [0, 4.5, 9, 13, 16, 16.5]  # seconds, looked at each 5 s
    views = [GatewayView({}, {}, 5000 * at, {"roof": busy}) for at, busy in enumerate(used)]
    assert [judge.judge(view) for view in views] == [None, None, True, True, False, False]
    assert judge.judge(GatewayView({}, {}, 99_000)) is None


def test_silence_counts_from_the_last_answer_or_from_the_first_look() -> None:
    judge = Silent(name="s", device="d", for_s=10).start()
    # A reload may add or change the device when the agent has been running for long.
    looks = [
        (500_000, None, None), (509_999, None, None), (510_000, None, True), (511_000, 50, False),
        (530_000, 9_999, False), (530_001, 10_000, True), (540_000, None, None),
        (549_999, None, None), (550_000, None, True),
    ]  # fmt: skip
    for now_ms, age_ms, expected in looks:
        found = judge.judge(GatewayView({"d": DeviceView(age_ms, {})}, {}, now_ms))
        assert (now_ms, found) == (now_ms, expected)


@pytest.mark.parametrize(
    ("rule", "gauges", "expected"),
    [
        (Gauge(name="g", gauge="outbox_share", above=0.5), {"outbox_share": 0.6}, True),
        (Gauge(name="g", gauge="disk_free_mib", below=100), {"disk_free_mib": 99.0}, True),
        (Gauge(name="g", gauge="disk_free_mib", below=100), {"disk_free_mib": 100.0}, False),
        (Gauge(name="g", gauge="disk_free_mib", below=100), {}, None),
    ],
)
def test_figures_of_the_gateway(
    rule: Gauge, gauges: Mapping[str, float], expected: bool | None
) -> None:
    assert rule.start().judge(GatewayView({}, gauges, 0)) is expected
