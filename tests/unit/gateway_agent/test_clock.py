"""The clock orders by boot time, and gives no wall time that nothing vouches for."""

import time
from pathlib import Path

import pytest

from gateway_agent import clock
from gateway_agent.clock import SystemClock
from protocols.uplink import CLOCK_HOLDOVER, CLOCK_NONE, CLOCK_SERVER, CLOCK_SYNCHRONISED


def test_boot_time_is_the_kernels_and_does_not_go_back() -> None:
    system = SystemClock()
    before = time.clock_gettime(time.CLOCK_BOOTTIME) * 1000
    readings = [system.boot_ms() for _ in range(1000)]
    assert readings == sorted(readings)
    assert before - 1 <= readings[0] <= before + 5000


def test_boot_id_is_the_kernels() -> None:
    text = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    assert SystemClock().boot_id.hex() == text.replace("-", "")


class Machine:
    """The kernel's clocks and its word about them, as a test sets them. Times in ms."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.boot = 1_000_000
        self.wall = 1_800_000_000_000
        self.error: int | None = None
        monkeypatch.setattr(clock, "_kernel_discipline", lambda: self.error)
        monkeypatch.setattr(SystemClock, "boot_ms", lambda _: self.boot)
        monkeypatch.setattr(time, "time_ns", lambda: self.wall * 1_000_000)

    def pass_(self, ms: int) -> None:
        self.boot += ms
        self.wall += ms


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_a_clock_that_nothing_synchronised_in_this_boot_vouches_for_nothing(
    machine: Machine,
) -> None:
    """The date looks right: a board without a battery clock starts with that of its last stop."""
    system = SystemClock()
    assert system.wall() == (None, 0, CLOCK_NONE)
    machine.pass_(8_000)
    machine.wall += 14 * 86_400_000  # NTP comes
    machine.error = 12
    assert system.wall() == (machine.wall, 12, CLOCK_SYNCHRONISED)


def test_a_clock_before_the_floor_gives_no_wall_time(machine: Machine) -> None:
    machine.error = 12
    machine.wall = clock.FLOOR_MS - 1
    assert SystemClock().wall() == (None, 0, CLOCK_NONE)


def test_holdover_grows_from_the_last_synchronisation(machine: Machine) -> None:
    machine.error = 12
    system = SystemClock()
    assert system.wall().state == CLOCK_SYNCHRONISED
    machine.error = None
    machine.pass_(100_000_000)
    # 100 ppm of 100,000 s are 10 s; the last known error comes on top.
    assert system.wall() == (machine.wall, 12 + 10_000, CLOCK_HOLDOVER)


def test_a_date_that_somebody_sets_changes_nothing_in_holdover(machine: Machine) -> None:
    machine.error = 12
    system = SystemClock()
    system.wall()
    machine.error = None
    machine.pass_(10_000)
    right = machine.wall
    machine.wall -= 14 * 86_400_000
    assert system.wall() == (right, 13, CLOCK_HOLDOVER)


def test_a_date_set_between_two_checks_is_noticed_at_once(machine: Machine) -> None:
    machine.error = 12
    system = SystemClock()
    system.wall()
    machine.pass_(100)
    right = machine.wall
    machine.wall += 3_600_000
    machine.error = None  # as settimeofday(2) leaves it
    assert system.wall() == (right, 13, CLOCK_HOLDOVER)


def test_an_anchor_of_an_agent_before_is_held_and_the_better_one_wins(machine: Machine) -> None:
    system = SystemClock()
    system.learn(machine.boot - 50_000, machine.wall - 50_000, 20, CLOCK_HOLDOVER)
    assert system.wall() == (machine.wall, 25, CLOCK_HOLDOVER)
    system.learn(machine.boot, machine.wall + 30, 60, CLOCK_SERVER)
    assert system.wall() == (machine.wall, 25, CLOCK_HOLDOVER)
    system.learn(machine.boot, machine.wall + 3, 4, CLOCK_SERVER)
    assert system.wall() == (machine.wall + 3, 4, CLOCK_SERVER)
    machine.error = 12
    machine.pass_(1_000)
    assert system.wall() == (machine.wall, 12, CLOCK_SYNCHRONISED)


def test_the_kernel_is_really_asked() -> None:
    error = clock._kernel_discipline()
    assert error is None or error >= 1
