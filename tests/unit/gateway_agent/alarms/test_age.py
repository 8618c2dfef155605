"""An alarm waits for nothing but its bus: on a line of eight devices, in simulated time."""

from pathlib import Path

from tests.bench.alarm_age import LIMIT_S, p99, virtual_ages


def test_an_alarm_is_out_two_cycles_after_its_value_and_at_once_after_its_answer(
    tmp_path: Path,
) -> None:
    ages = virtual_ages(tmp_path, 20)
    assert len(ages.recorded) == 20
    assert p99(ages.announced) <= LIMIT_S
    assert p99(ages.recorded) <= LIMIT_S
    assert max(ages.own) <= 0.05, "the gateway's own part"
