"""An alarm goes through the states of ISA-18.2, with its delays, and never by itself to seen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_agent.alarms.state import Alarm, AlarmState


def test_from_normal_to_seen_and_back() -> None:
    alarm = Alarm(0, 0)
    assert alarm.look(False, 0) is None
    change = alarm.look(True, 10)
    assert change is not None
    assert (change.before, change.after, change.by) == ("normal", "unacknowledged", "")
    assert alarm.acknowledge("ann", 20) == ("unacknowledged", "acknowledged", "ann", 20)
    assert alarm.acknowledge("ann", 21) is None
    assert alarm.look(False, 30) == ("acknowledged", "normal", "", 30)


def test_what_went_before_anybody_saw_it_stays_until_somebody_does() -> None:
    alarm = Alarm(0, 0)
    alarm.look(True, 0)
    assert alarm.look(False, 1) == ("unacknowledged", "returned", "", 1)
    assert alarm.look(True, 2) == ("returned", "unacknowledged", "", 2)
    alarm.look(False, 3)
    assert alarm.acknowledge("ann", 4) == ("returned", "normal", "ann", 4)


def test_delays_hold_back_what_does_not_last() -> None:
    alarm = Alarm(100, 50)
    assert alarm.look(True, 0) is None
    assert alarm.look(False, 99) is None
    assert alarm.look(True, 120) is None
    assert alarm.look(True, 219) is None
    assert alarm.look(None, 220) == ("normal", "unacknowledged", "", 220)
    assert alarm.look(False, 230) is None
    assert alarm.look(False, 279) is None
    assert alarm.look(False, 280) == ("unacknowledged", "returned", "", 280)


def test_the_shelf_hides_and_gives_back() -> None:
    alarm = Alarm(0, 0)
    alarm.look(True, 0)
    assert alarm.shelve(1000, "ann", 5) == ("unacknowledged", "shelved", "ann", 5)
    assert alarm.look(True, 1004) is None
    assert alarm.look(True, 1005) == ("shelved", "unacknowledged", "", 1005)
    alarm.shelve(1000, "ann", 1006)
    assert alarm.shelve(0, "ann", 1007) == ("shelved", "unacknowledged", "ann", 1007)
    with pytest.raises(ValueError, match="0 to 168 hours"):
        alarm.shelve(7 * 86_400_000 + 1, "ann", 1008)


STEPS = st.lists(
    st.one_of(
        st.sampled_from([True, False, None]),
        st.just("acknowledge"),
        st.integers(0, 500),
    ),
    max_size=40,
)


@given(STEPS, st.integers(0, 30), st.integers(0, 30))
def test_no_alarm_is_seen_by_itself(steps: list[object], on_ms: int, off_ms: int) -> None:
    alarm = Alarm(on_ms, off_ms)
    for now_ms, step in enumerate(steps):
        if step == "acknowledge":
            change = alarm.acknowledge("ann", now_ms * 7)
        elif isinstance(step, int) and not isinstance(step, bool):
            change = alarm.shelve(step, "ann", now_ms * 7)
        else:
            change = alarm.look(step if isinstance(step, bool) else None, now_ms * 7)
            if change is not None and change.before == AlarmState.UNACKNOWLEDGED:
                assert change.after == AlarmState.RETURNED
        if change is not None:
            assert change.before != change.after
            assert change.after == alarm.state
