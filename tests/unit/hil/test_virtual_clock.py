"""The clock of a line in virtual time: it is where every port has been, and calls back once."""

from __future__ import annotations

from hil.wires.virtual_clock import VirtualClock


def test_the_slowest_port_is_the_time_and_it_never_goes_back() -> None:
    clock = VirtualClock()
    assert clock.now_ns() == 0
    clock.reached("air", 5)
    clock.reached("water", 3)
    assert clock.now_ns() == 5
    clock.reached("air", 9)
    assert clock.now_ns() == 5
    clock.reached("water", 8)
    assert clock.now_ns() == 8


def test_a_port_that_leaves_is_not_waited_for() -> None:
    clock, calls = VirtualClock(), []
    timer = clock.timer(lambda: calls.append(clock.now_ns()))
    clock.reached("air", 5)
    clock.reached("water", 7)
    timer.start(6)
    clock.leave("air")
    assert calls == [7]
    clock.leave("water")
    clock.leave("water")
    assert clock.now_ns() == 7


def test_a_timer_calls_once_at_its_last_due_time_and_not_when_closed() -> None:
    clock, calls = VirtualClock(), []
    timer = clock.timer(lambda: calls.append(clock.now_ns()))
    timer.start(4)
    timer.start(10)
    clock.reached("air", 9)
    assert calls == []
    clock.reached("air", 11)
    clock.reached("air", 12)
    assert calls == [11]
    # What is due already is called at the next sign of time, not from within `start`.
    timer.start(1)
    assert calls == [11]
    clock.reached("air", 13)
    assert calls == [11, 13]
    timer.start(14)
    timer.close()
    timer.close()
    clock.reached("air", 20)
    assert calls == [11, 13]
