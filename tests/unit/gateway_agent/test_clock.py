"""The clock orders by boot time and marks a wall time that nothing disciplines as uncertain."""

import time
from pathlib import Path

import pytest

from gateway_agent import clock
from gateway_agent.clock import SystemClock
from protocols.uplink import CLOCK_HOLDOVER, CLOCK_NONE, CLOCK_SYNCHRONISED


def test_boot_time_is_the_kernels_and_does_not_go_back() -> None:
    system = SystemClock()
    before = time.clock_gettime(time.CLOCK_BOOTTIME) * 1000
    readings = [system.boot_ms() for _ in range(1000)]
    assert readings == sorted(readings)
    assert before - 1 <= readings[0] <= before + 5000


def test_boot_id_is_the_kernels() -> None:
    text = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    assert SystemClock().boot_id.hex() == text.replace("-", "")


def test_a_disciplined_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "_kernel_discipline", lambda: 12)
    wall = SystemClock().wall()
    assert wall.state == CLOCK_SYNCHRONISED
    assert wall.unc_ms == 12
    assert wall.wall_ms is not None
    assert abs(wall.wall_ms - time.time() * 1000) < 5000


def test_holdover_grows_from_the_last_synchronisation(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000_000
    discipline: int | None = 12
    system = SystemClock()
    monkeypatch.setattr(clock, "_kernel_discipline", lambda: discipline)
    monkeypatch.setattr(SystemClock, "boot_ms", lambda self: now)
    assert system.wall().state == CLOCK_SYNCHRONISED
    discipline = None
    now += 100_000_000
    wall = system.wall()
    # 100 ppm of 100,000 s are 10 s; the last known error comes on top.
    assert (wall.state, wall.unc_ms) == (CLOCK_HOLDOVER, 12 + 10_000 + 1)


def test_a_plausible_date_without_discipline_is_a_day_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "_kernel_discipline", lambda: None)
    wall = SystemClock().wall()
    assert (wall.state, wall.unc_ms) == (CLOCK_HOLDOVER, 86_400_000)


def test_a_clock_before_the_floor_gives_no_wall_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "_kernel_discipline", lambda: None)
    monkeypatch.setattr(time, "time_ns", lambda: 1_000_000 * (clock.FLOOR_MS - 1))
    assert SystemClock().wall() == (None, 0, CLOCK_NONE)


def test_the_kernel_is_really_asked() -> None:
    error = clock._kernel_discipline()
    assert error is None or error >= 1
