"""Coalescing, predicted times, warnings, and the schedule's slots."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_agent.config import Bus, Device, NodeDevice, ProfileDevice, SerialBus, TcpBus
from gateway_agent.field.planner import (
    Span,
    coalesce,
    node_reads,
    plan_bus,
    transaction_ms,
)
from gateway_agent.field.proposal import proposals
from gateway_agent.field.schedule import PollSchedule, Slot
from protocols.modbus_client import Read
from protocols.wire.modbus.pdu import READ_HOLDING, READ_INPUT
from protocols.wire.registers import CAMERA

T35_MS = 3.646  # 3.5 characters of 10 bits at 9600 baud, up to whole microseconds


def device(name: str = "d", unit: int = 1, period_ms: int = 1000, kind: str = "profile") -> Device:
    if kind == "node":
        return NodeDevice(
            name=name, unit=unit, role="air", uid="0" * 24, key=Path("k"), period_ms=period_ms
        )
    return ProfileDevice(name=name, unit=unit, profile="p", period_ms=period_ms)


def rtu(*devices: Device, baudrate: int = 9600, turnaround_ms: int = 20) -> Bus:
    return SerialBus(
        name="b",
        port="/dev/x",
        baudrate=baudrate,
        turnaround_ms=turnaround_ms,
        device=devices,
    )


@pytest.mark.parametrize(
    ("spans", "gap", "reads"),
    [
        ([(4, 0, 1), (4, 1, 1), (4, 2, 2)], 0, [(4, 0, 4)]),
        ([(4, 2, 2), (4, 0, 1), (4, 1, 1)], 0, [(4, 0, 4)]),
        ([(4, 0, 1), (4, 3, 1)], 1, [(4, 0, 1), (4, 3, 1)]),
        ([(4, 0, 1), (4, 3, 1)], 2, [(4, 0, 4)]),
        ([(3, 0, 1), (4, 1, 1)], 8, [(3, 0, 1), (4, 1, 1)]),
        ([(4, 0, 124), (4, 124, 1)], 0, [(4, 0, 125)]),
        ([(4, 0, 124), (4, 124, 2)], 0, [(4, 0, 124), (4, 124, 2)]),  # never cut in two
        ([(4, 0, 4), (4, 1, 1)], 0, [(4, 0, 4)]),
        ([], 8, []),
    ],
)
def test_coalesce(
    spans: list[tuple[int, int, int]], gap: int, reads: list[tuple[int, int, int]]
) -> None:
    assert coalesce([Span(*span) for span in spans], gap) == tuple(Read(*read) for read in reads)


_SPANS = st.builds(
    Span, st.sampled_from([READ_HOLDING, READ_INPUT]), st.integers(0, 600), st.sampled_from([1, 2])
)


@given(st.lists(_SPANS, max_size=60), st.integers(0, 20), st.integers(2, 125))
def test_every_span_lies_whole_in_one_read(spans: list[Span], gap: int, most: int) -> None:
    reads = coalesce(spans, gap, most)
    assert all(1 <= read.words <= most for read in reads)
    for span in spans:
        assert any(
            read.function == span.function
            and read.address <= span.address
            and span.address + span.words <= read.address + read.words
            for read in reads
        )
    wanted = {(s.function, s.address + i) for s in spans for i in range(s.words)}
    for read in reads:
        holes = 0
        for register in range(read.address, read.address + read.words):
            holes = 0 if (read.function, register) in wanted else holes + 1
            assert holes <= gap
        assert holes == 0


def test_a_transaction_at_9600_8n1() -> None:
    # 8 characters of request, 5 + 20 of answer, 10 bits each; two silences of 3.5 characters.
    assert transaction_ms(rtu(turnaround_ms=20), 10) == pytest.approx(
        (8 + 25) * 10 / 9.6 + 20 + 2 * T35_MS, abs=1e-6
    )


def test_a_transaction_above_19200_has_fixed_silence() -> None:
    bus = rtu(baudrate=115200, turnaround_ms=0)
    assert transaction_ms(bus, 10) == pytest.approx(33 * 10 / 115.2 + 3.5, abs=1e-6)


def test_parity_and_stop_bits_lengthen_a_character() -> None:
    bus = SerialBus(name="b", port="x", parity="E", stopbits=2, turnaround_ms=0, device=())
    assert transaction_ms(bus, 1) == pytest.approx((8 + 7 + 7) * 12 / 9.6, abs=1e-6)


def test_tcp_costs_the_turnaround() -> None:
    bus = TcpBus(name="b", host="h", port=502, turnaround_ms=3, device=())
    assert transaction_ms(bus, 100) == 3


def test_a_node_is_read_in_one_request() -> None:
    # Ten of header, two of quality, 4 x 2 + 2 of values, nine of key id and tag.
    assert node_reads(CAMERA) == (Read(READ_INPUT, 0, 31),)


def test_warnings() -> None:
    slow = rtu(device("a", 1, 100), device("b", 2, 100))
    text = " | ".join(plan_bus(slow, [(Read(4, 0, 50),), (Read(4, 0, 50),)]).warnings)
    assert "the polls do not fit" in text
    assert "one round of all devices takes" in text
    assert "a device that falls silent holds the bus for timeout_ms = 500" in text
    good = rtu(device("a", 1, 5000))
    assert plan_bus(good, [(Read(4, 0, 5),)]).warnings == ()
    node = rtu(device("a", 1, 5000, "node"))
    (warning,) = plan_bus(node, [(Read(4, 0, 28),)]).warnings
    assert "misses samples" in warning


def test_a_plan_that_does_not_fit_brings_proposals_that_do() -> None:
    bus = rtu(device("a", 1, 100), device("b", 2, 200))
    reads = [(Read(4, 0, 50),), (Read(4, 0, 50),)]
    # 113 characters of 10 bits at 9600 baud, 20 ms of turnaround, two silences of 3.65 ms: 145 ms a
    # poll, 2.17 of the bus. Periods times 2.72: 500 and 1000. At 38,400 baud: 52.9 ms a poll.
    longer, faster = proposals(plan_bus(bus, reads))
    assert longer == "period_ms = 500 instead of 100, 1000 instead of 200: 44% of the bus's time"
    assert faster == "baudrate = 38400, if every device can: 79% of the bus's time"
    slower = rtu(device("a", 1, 500), device("b", 2, 1000))
    assert proposals(plan_bus(slower, reads)) == ()


def test_a_bus_of_tcp_has_no_faster_line() -> None:
    bus = TcpBus(name="b", host="h", port=502, turnaround_ms=90, device=(device("a", 1, 100),))
    (longer,) = proposals(plan_bus(bus, [(Read(4, 0, 1),)]))
    assert longer == "period_ms = 200 instead of 100: 45% of the bus's time"
    minutes = TcpBus(
        name="b", host="h", port=502, turnaround_ms=70_000, device=(device("a", 1, 60_000),)
    )
    (longer,) = proposals(plan_bus(minutes, [(Read(4, 0, 1),)]))
    assert longer == "period_ms = 120000 instead of 60000: 58% of the bus's time"


def test_plan_figures() -> None:
    plan = plan_bus(rtu(device("a", 1, 1000), device("b", 2, 500)), [(Read(4, 0, 1),)] * 2)
    one = (8 + 7) * 10 / 9.6 + 20 + 2 * T35_MS
    assert plan.cycle_ms == pytest.approx(2 * one)
    assert plan.share == pytest.approx(one / 1000 + one / 500)


# --- schedule -----------------------------------------------------------------------------------


Asked = list[tuple[int, int, bool]]  # (time, index, is it a probe)


def schedule_of(periods: list[int]) -> PollSchedule:
    return PollSchedule([Slot(period, 0, 0) for period in periods])


def run(schedule: PollSchedule, until: int, cost: int, silent: set[int], timeout: int) -> Asked:
    """Play a bus up to ``until``."""
    now = 0
    asked: Asked = []
    while True:
        index, probe, wait = schedule.next(now)
        now += wait
        if now > until:
            return asked
        if wait:
            continue
        asked.append((now, index, probe))
        took = timeout if index in silent else cost
        now += took
        if probe:
            schedule.probed(index, now, took, index in silent)
        else:
            schedule.polled(index, now, index in silent)


def test_slots_do_not_drift() -> None:
    asked = run(schedule_of([100]), 1000, 37, set(), 500)
    assert [time for time, _, _ in asked] == list(range(0, 1001, 100))


def test_skipped_slots_are_counted_and_the_grid_is_kept() -> None:
    schedule = schedule_of([100])
    assert schedule.polled(0, 350, silent=False) == 2  # 100 and 200 passed, 300 is the one due
    assert schedule.next(350) == (0, False, 0)
    assert schedule.polled(0, 360, silent=False) == 0
    assert schedule.next(360) == (0, False, 40)
    assert schedule.slots[0].skipped == 2


def test_a_dead_slave_leaves_the_others_their_slots() -> None:
    silent = {1}
    asked = run(schedule_of([1000, 1000, 1000]), 400_000, 20, silent, 500)
    polls = [time for time, index, probe in asked if index == 0 and not probe]
    assert len(polls) == 401
    assert max(time % 1000 for time in polls) <= 520  # never later than one probe
    late = [time for time in polls if time % 1000 > 40]
    assert len(late) <= 12
    probes = [time for time, index, probe in asked if probe]
    assert {index for _, index, probe in asked if probe} == {1}
    distances = [after - before for before, after in itertools.pairwise(probes)]
    assert distances == sorted(distances)
    assert distances[-1] >= 60_000


def test_many_dead_slaves_get_a_tenth_of_the_bus() -> None:
    silent = set(range(1, 31))
    asked = run(schedule_of([1000] * 31), 600_000, 20, silent, 500)
    probes = [time for time, _, probe in asked if probe and time > 120_000]
    assert len(probes) * 500 <= 0.11 * 480_000
    polls = [time for time, index, _ in asked if index == 0 and time > 120_000]
    assert len(polls) >= 479  # none skipped


def test_a_slave_that_returns_is_polled_at_once_on_its_old_grid() -> None:
    schedule = schedule_of([1000])
    silent = {0}
    run(schedule, 9_000, 20, silent, 500)
    assert schedule.slots[0].quarantined
    asked = run_from(schedule, 9_000, 30_000)
    first = next(time for time, _, probe in asked if not probe)
    probe = max(time for time, _, probe in asked if probe)
    assert first == probe + 20
    assert all(time % 1000 == 0 for time, _, probe in asked if time > first)


def run_from(schedule: PollSchedule, now: int, until: int) -> Asked:
    asked: Asked = []
    while now <= until:
        index, probe, wait = schedule.next(now)
        if wait:
            now += wait
            continue
        asked.append((now, index, probe))
        now += 20
        if probe:
            schedule.probed(index, now, 20, False)
        else:
            schedule.polled(index, now, False)
    return asked


def test_one_good_answer_ends_the_count_of_failures() -> None:
    schedule = schedule_of([1000])
    for step, silent in enumerate([True, True, False, True, True]):
        schedule.polled(0, 1000 * step + 500, silent)
    assert not schedule.slots[0].quarantined
    schedule.polled(0, 5500, True)
    assert schedule.slots[0].quarantined


def test_a_device_that_is_asked_often_is_not_held_up_by_many_that_have_time() -> None:
    """20 devices of 10 s, which take 30 ms each, beside one of 100 ms: it misses no slot."""
    plan = schedule_of([100, *[10_000] * 20])
    now, polls = 0, [0] * 21
    while True:
        index, _, wait = plan.next(now)
        now += wait
        if now >= 20_000:
            break
        assert plan.overtaken(index, now) == 0
        polls[index] += 1
        now += 30
        assert plan.polled(index, now, silent=False) == 0
    assert polls[0] == 200
    assert set(polls[1:]) == {2}


def test_whoever_has_time_is_not_starved_by_too_much_to_do() -> None:
    plan = schedule_of([10, 10, 1000])  # two that need 20 ms each, every 10 ms
    now, last, worst = 0, 0, 0
    while now < 20_000:
        index, _, wait = plan.next(now)
        now += wait
        plan.overtaken(index, now)
        if index == 2:
            worst, last = max(worst, now - last), now
        now += 20
        plan.polled(index, now, silent=False)
    assert worst <= 2000


def test_devices_that_begin_together_do_not_fall_due_together_for_ever() -> None:
    """20 new devices of 1 s, 30 ms each: each has its own 30 ms of every second, and no wait."""
    plan = PollSchedule([Slot(1000, 0, 0, is_new=True) for _ in range(20)])
    now, late = 0, []
    while True:
        index, _, wait = plan.next(now)
        now += wait
        if now >= 10_000:
            break
        assert plan.overtaken(index, now) == 0
        late.append(now - plan.slots[index].due)
        now += 30
        assert plan.polled(index, now, silent=False) == 0
    assert len(late) == 200
    assert max(late) == 0
    assert sorted(slot.first for slot in plan.slots) == list(range(0, 600, 30))


def test_a_new_device_that_has_missed_a_slot_keeps_its_grid() -> None:
    plan = PollSchedule([Slot(1000, 0, 0, is_new=True)])
    assert plan.overtaken(0, 2300) == 2
    assert (plan.slots[0].first, plan.slots[0].due) == (0, 2000)
