"""The time of the stand-in for Renode: as Renode 1.16.1 was measured, no kinder."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from hil.renode.fake.clock import FLIGHT, FakeClock


@dataclass
class Machine:
    """What the clock asks of a machine."""

    running: bool = True
    paused: bool = False
    own_s: float = 0.0


class Host:
    """The host's clock, which only the test moves."""

    now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host()
    monkeypatch.setattr("hil.renode.fake.clock.time", made)
    return made


def three() -> list[Machine]:
    return [Machine(), Machine(), Machine()]


@pytest.mark.parametrize(
    ("quantum_s", "own"),
    [
        (0.0003, (1.0, 1.0, 1.0)),
        (0.0007, (0.933, 0.933, 1.0)),
        (0.001, (0.963, 0.963, 1.0)),
        (0.003, (0.32, 0.32, 1.0)),
        (0.01, (0.155, 0.155, 0.969)),
    ],
)
def test_machines_in_parallel_fall_behind(
    host: Host, quantum_s: float, own: tuple[float, ...]
) -> None:
    machines = three()
    clock = FakeClock(lambda: machines)
    clock.quantum_s = quantum_s
    clock.run_for(10.0)
    assert clock.now_s() == 10.0
    assert [machine.own_s for machine in machines] == pytest.approx([10 * rate for rate in own])


@pytest.mark.parametrize("count", [1, 3])
def test_one_machine_or_one_after_the_other_keep_time(host: Host, count: int) -> None:
    machines = three()[:count]
    clock = FakeClock(lambda: machines)
    clock.serial, clock.quantum_s = count > 1, 0.01
    clock.run_for(10.0)
    assert [machine.own_s for machine in machines] == [10.0] * count


def test_time_follows_the_host_while_a_core_runs(host: Host) -> None:
    machines = [Machine(), Machine(running=False)]
    clock = FakeClock(lambda: machines)
    host.now_s += 5
    assert clock.now_s() == 0.0
    clock.start(True)
    host.now_s += 5
    assert clock.now_s() == 5.0
    clock.start(False)
    host.now_s += 5
    assert clock.now_s() == 5.0
    assert [machine.own_s for machine in machines] == [5.0, 0.0]


def test_without_a_core_time_flies_and_the_next_one_sleeps(host: Host) -> None:
    machine = Machine(running=False)
    clock = FakeClock(lambda: [machine])
    clock.start(True)
    host.now_s += 0.1
    flown_s = 0.1 * FLIGHT
    assert clock.now_s() == pytest.approx(flown_s)
    machine.running = True
    sleep_s = clock.lead_s()
    assert sleep_s == pytest.approx(flown_s - 0.1)
    host.now_s += sleep_s - 1
    assert clock.now_s() == pytest.approx(flown_s)
    assert machine.own_s == 0.0
    host.now_s += 3
    assert clock.lead_s() == pytest.approx(0.0)
    assert clock.now_s() == pytest.approx(flown_s + 2)


def test_nothing_sleeps_where_time_advances_immediately(host: Host) -> None:
    machine = Machine(running=False)
    clock = FakeClock(lambda: [machine])
    clock.start(True)
    host.now_s += 0.1
    clock.now_s()
    machine.running, clock.immediate = True, True
    assert clock.lead_s() == 0.0
    before = clock.now_s()
    host.now_s += 1
    assert clock.now_s() > before + 1


def test_a_machine_that_is_paused_holds_the_time_of_all(host: Host) -> None:
    machines = [Machine(paused=True), Machine()]
    clock = FakeClock(lambda: machines)
    clock.start(True)
    host.now_s += 10
    assert clock.now_s() == 0.0
    assert machines[1].own_s == 0.0
