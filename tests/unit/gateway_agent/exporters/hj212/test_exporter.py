"""The exporter against a platform that misbehaves: every period arrives once, by its count."""

from pathlib import Path

import pytest

from gateway_agent.uplink.hj212 import work
from gateway_agent.uplink.hj212.period_store import PeriodStore
from gateway_agent.uplink.trace_log import find_seq
from hil.platform.hj212_platform import Hj212Faults, Hj212Platform
from tests.unit.gateway_agent.exporters.export_world import sample, until
from tests.unit.gateway_agent.exporters.hj212.exporter_world import (
    MovingClock,
    config,
    cps,
    fast_profile,
    put,
    running,
)
from tests.unit.gateway_agent.store_help import WALL_MS


async def test_minutes_arrive_with_their_values(tmp_path: Path, platform: Hj212Platform) -> None:
    clock = MovingClock()
    async with running(tmp_path, config(platform), clock) as (outbox, tasks):
        await put(outbox, clock, 40, 164)  # 16:54:00 to 16:56:04
        await until(lambda: len(cps(platform, "2051")) >= 2)
        await until(lambda: not tasks.tasks[0].feed.behind)
        # co2 is 40, 44 .. 96 ppm: times 44.010 / 24.4654 are 72.0 and 172.7 mg/m3
        assert cps(platform, "2051")[0] == (
            "DataTime=20251009165400;"
            "a01001-Min=4.0,a01001-Avg=6.8,a01001-Max=9.6,a01001-Flag=N;"
            "a05001-Min=72.0,a05001-Avg=122.3,a05001-Max=172.7,a05001-Flag=N"
        )
        assert cps(platform, "2011")
        first = next(item for item in platform.answered if item.cn == "2051")
        await until(lambda: find_seq(tmp_path, 1, None, 9))
        (trace,) = [one for one in find_seq(tmp_path, 1, None, 9) if one.text == "CN=2051"]
        assert (trace.message, trace.seqs, trace.ack) == (first.qn, "1-15", "9014")


@pytest.mark.parametrize("held", [work.MOST_HELD, 1])
async def test_through_every_fault_each_minute_is_there_once(
    tmp_path: Path, platform: Hj212Platform, monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    """Closed connections, lost answers and two restarts of the process; few periods in memory."""
    monkeypatch.setattr(work, "MOST_HELD", held)
    clock = MovingClock()
    platform.faults = Hj212Faults(close_every=7)
    uplink = config(platform, profile=str(fast_profile(tmp_path)))
    for turn in range(3):
        async with running(tmp_path, uplink, clock) as (outbox, tasks):
            begin = 40 + 240 * turn
            await put(outbox, clock, begin, begin + 240)
            await until(lambda: len(platform.periods("2051")) >= 4 * (turn + 1))  # noqa: B023
            await until(lambda: not tasks.tasks[0].feed.behind)
    arrived = platform.periods("2051")
    assert len(arrived) == 12
    assert set(arrived.values()) == {1}
    assert all("-Flag=B" not in body for body in cps(platform, "2051"))


async def test_lost_answers_are_asked_for_again_under_the_same_number(
    tmp_path: Path, platform: Hj212Platform
) -> None:
    clock = MovingClock()
    platform.faults = Hj212Faults(lose_every=3)
    uplink = config(platform, profile=str(fast_profile(tmp_path)))
    async with running(tmp_path, uplink, clock) as (outbox, _):
        await put(outbox, clock, 40, 280)
        await until(lambda: len(platform.periods("2051")) == 4)
    assert set(platform.periods("2051").values()) == {1}
    numbers = [item.qn for item in platform.heard if item.cn == "2051"]
    assert len(numbers) > len(set(numbers))


async def test_a_late_reading_is_sent_as_back_fill(tmp_path: Path, platform: Hj212Platform) -> None:
    platform.key = b"0" * 16
    key = tmp_path / "key"
    key.write_text("30" * 16)
    clock = MovingClock()
    uplink = config(platform, profile="hj212-2025", key_file=key)
    async with running(tmp_path, uplink, clock) as (outbox, _):
        await put(outbox, clock, 40, 160)
        await until(lambda: len(cps(platform, "2051")) == 2)
        await outbox.put([sample(42)], {})
        await until(lambda: len(cps(platform, "2051")) == 3)
    again = [item for item in platform.answered if item.cn == "2051"]
    assert [item.is_backfill for item in again] == [False, False, True]
    assert again[2].cp.startswith("DataTime=20251009165400;")
    assert again[2].cp != again[0].cp


async def test_a_hole_is_said(tmp_path: Path, platform: Hj212Platform) -> None:
    clock = MovingClock()
    async with running(tmp_path, config(platform), clock) as (outbox, _):
        await put(outbox, clock, 40, 100)
        await until(lambda: len(cps(platform, "2051")) == 1)
        await put(outbox, clock, 220, 280)
        await until(lambda: len(cps(platform, "2051")) == 4)
    empty = "a01001-Flag=B;a05001-Flag=B"
    assert cps(platform, "2051")[1] == f"DataTime=20251009165500;{empty}"
    assert cps(platform, "2051")[2] == f"DataTime=20251009165600;{empty}"


async def test_a_day_ahead_leaves_nothing_once_the_clock_is_right(
    tmp_path: Path, platform: Hj212Platform
) -> None:
    clock = MovingClock()
    uplink = config(platform, profile=str(fast_profile(tmp_path)))
    platform.faults = Hj212Faults(mute=True)
    async with running(tmp_path, uplink, clock) as (outbox, _):
        await put(outbox, clock, 40, 100)
        clock.wall_ms = WALL_MS + 86_400_000
        await until(lambda: any(item.cn == "2061" for item in platform.heard))  # till 17:00
        clock.wall_ms = WALL_MS + 100_000
        platform.faults = Hj212Faults()
        await put(outbox, clock, 100, 164)
        await until(lambda: any("165500;a01001-Min" in text for text in cps(platform, "2051")))
    store = PeriodStore(tmp_path / "hj212-hj212.db")
    assert list(store.between("2051", WALL_MS + 164_000, WALL_MS + 86_400_000)) == []
    (hour,) = [period for period in store.pending() if period.cn == "2061"]
    assert not hour.is_closed
    assert hour.sent < hour.revision
    store.close()


async def test_history_is_served_and_settings_are_kept(
    tmp_path: Path, platform: Hj212Platform
) -> None:
    clock = MovingClock()
    uplink = config(platform, allow_control=True)
    async with running(tmp_path, uplink, clock) as (outbox, _):
        await put(outbox, clock, 40, 280)
        await until(lambda: len(cps(platform, "2051")) == 4)
    platform.asks = [
        ("1064", "MinInterval=5"),
        ("2051", "BeginTime=20251009165400;EndTime=20251009165500"),
    ]
    before = len(platform.heard)
    async with running(tmp_path, uplink, clock) as (_, _):
        await until(lambda: sum(item.cn == "9012" for item in platform.heard) == 2)
    # Table C.20: history wants no answer (Flag=4), uploads do.
    history = [item for item in platform.heard[before:] if (item.cn, item.flag) == ("2051", 4)]
    assert [item.cp[9:23] for item in history] == ["20251009165400", "20251009165500"]
    assert [item.cp for item in platform.heard if item.cn == "9012"] == ["ExeRtn=1", "ExeRtn=1"]
    platform.asks = [("1063", "")]
    async with running(tmp_path, uplink, clock):
        await until(lambda: any(item.cp == "MinInterval=5" for item in platform.heard))


async def test_what_cannot_be_configured_is_a_problem_of_this_uplink(
    tmp_path: Path, platform: Hj212Platform
) -> None:
    clock = MovingClock()
    for changes, problem in (
        ({"profile": "atlantis"}, "expected a file or one of"),
        ({"points": {"hall/co2": "a99999"}}, "unknown"),
        ({"points": {"hall/co2": "a01001", "hall/temperature": "a01001"}}, "both give a01001"),
        ({"nodes": ("nobody",)}, "nobody"),
        ({"mn": "short"}, "this profile expects"),
    ):
        async with running(tmp_path, config(platform, **changes), clock) as (_, tasks):
            status = tasks.tasks[0].feed.status
            await until(lambda: status.problem)  # noqa: B023
            assert problem in status.problem


async def test_a_unit_that_is_not_the_codes_is_named_and_never_sent(
    tmp_path: Path, platform: Hj212Platform
) -> None:
    clock = MovingClock()
    uplink = config(platform, points={"hall/co2": "a34004", "hall/temperature": "a01001"})
    async with running(tmp_path, uplink, clock) as (outbox, tasks):
        await put(outbox, clock, 40, 100)
        await until(lambda: cps(platform, "2051"))
        (gap,) = tasks.tasks[0].feed.status.gaps
    assert (gap.kind, gap.count, gap.cause) == ("a34004", 15, "unit")
    assert (gap.first_ms, gap.last_ms) == (WALL_MS + 40_000, WALL_MS + 96_000)
    assert "a34004" not in "".join(item.cp for item in platform.heard)
