"""Periods that are too old are named: those at the platform and those named are all there were."""

from pathlib import Path

import pytest

from gateway_agent.cli.status import _exporter_lines
from gateway_agent.status import GapStatus
from gateway_agent.uplink.hj212 import work
from gateway_agent.uplink.hj212.period_store import PeriodStore
from gateway_agent.uplink.trace_log import find_message, find_seq
from hil.platform.hj212_platform import Hj212Faults, Hj212Platform
from tests.unit.gateway_agent.exporters.export_world import sample, until
from tests.unit.gateway_agent.exporters.hj212.exporter_world import (
    MovingClock,
    config,
    fast_profile,
    running,
)
from tests.unit.gateway_agent.store_help import WALL_MS

FIRST_MS = WALL_MS + 40_000  # 16:54:00 in Beijing
HOURS = 5
MINUTES = 60 * HOURS
RECORDS = 240  # two a minute


def named(gaps: list[GapStatus], kind: str) -> int:
    return sum(gap.count for gap in gaps if gap.kind == kind)


@pytest.mark.parametrize("held", [work.MOST_HELD, 1])
async def test_every_minute_is_at_the_platform_or_named(
    tmp_path: Path, platform: Hj212Platform, monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    """Two hours of records, three of silence; the platform answers nothing until then.

    One hour is kept. A commit that fails when they are given up names none of them twice.
    """
    monkeypatch.setattr(work, "MOST_HELD", held)
    clock = MovingClock()
    uplink = config(platform, profile=str(fast_profile(tmp_path)), keep_hours=1, batch_records=1000)
    platform.faults = Hj212Faults(mute=True)
    async with running(tmp_path, uplink, clock) as (outbox, tasks):
        await outbox.put([sample(second) for second in range(40, 40 + RECORDS * 30, 30)], {})
        clock.wall_ms = FIRST_MS + RECORDS * 30_000
        await until(lambda: platform.heard)
        # The outbox gives its records up, as it does with what is too old.
        await outbox.give_up("hj212", tasks.tasks[0].feed.stream, RECORDS, "age")
    clock.wall_ms = FIRST_MS + MINUTES * 60_000
    kept = PeriodStore.commit
    failed: list[tuple[object, ...]] = []

    def commit(self: PeriodStore, *args: object) -> None:
        if '"age"' in str(args[1]) and not failed:
            failed.append(args)
            raise OSError("no room")
        kept(self, *args)  # type: ignore[arg-type] # as they came

    monkeypatch.setattr(PeriodStore, "commit", commit)
    platform.faults = Hj212Faults()
    async with running(tmp_path, uplink, clock) as (outbox, tasks):
        status = tasks.tasks[0].feed.status

        def counts() -> tuple[int, int]:
            at, said = platform.periods("2051"), named(status.gaps, "2051")
            return said, said + len(at)

        await until(lambda: counts()[1] >= MINUTES)
        await until(lambda: len(platform.periods("2061")) + named(status.gaps, "2061") >= HOURS)
        assert failed
        assert counts()[0] > 100
        assert counts()[1] == MINUTES
        assert set(platform.periods("2051").values()) == {1}
        assert len(platform.periods("2061")) + named(status.gaps, "2061") == HOURS
        found = [gap for gap in status.gaps if gap.kind == "2051"]
        assert {gap.cause for gap in found} == {"age"}
        assert all(gap.last_ms - gap.first_ms == gap.count * 60_000 for gap in found)
        text = "\n".join(str(line) for line in _exporter_lines(status))
        assert f"{counts()[0]} of 2051 will never be sent, from 2025-10-09T" in text
        (trace,) = [one for one in find_seq(tmp_path, RECORDS, None, 9) if "2051" in one.text]
        assert (trace.ack, trace.message) == ("given up", "2051 20251009180000")
        assert (trace.seqs, trace.text) == ("133-240", "54 of CN=2051 to 20251009185300, too old")
        assert find_message(tmp_path, "hj212", trace.message, 9) == [trace]
        before = list(status.gaps)
    async with running(tmp_path, uplink, clock) as (_, tasks):
        await until(lambda: tasks.tasks[0].feed.status.connected)
        assert tasks.tasks[0].feed.status.gaps == before
