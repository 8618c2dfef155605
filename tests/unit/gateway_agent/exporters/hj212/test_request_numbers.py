"""A period whose answer was never heard is sent again under the request number that it had."""

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from gateway_agent.uplink.hj212.period import AggregatePeriod
from gateway_agent.uplink.hj212.period_store import PeriodStore, PeriodUpload
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

VERSION_1 = """
CREATE TABLE period (cn TEXT NOT NULL, start_ms INTEGER NOT NULL, end_ms INTEGER NOT NULL,
closed INTEGER NOT NULL, revision INTEGER NOT NULL, sent INTEGER NOT NULL, cells TEXT NOT NULL,
ranges TEXT NOT NULL, PRIMARY KEY (cn, start_ms)) WITHOUT ROWID;
CREATE INDEX unsent ON period (cn, start_ms) WHERE sent < revision OR closed = 0;
CREATE TABLE state (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO period VALUES ('2051', 60000, 120000, 1, 2, 0, '{}', '[[7, 1, 4]]');
INSERT INTO state VALUES ('stream', '7');
PRAGMA user_version = 1;
"""


async def test_a_stop_between_the_platforms_entry_and_our_commit(
    tmp_path: Path, platform: Hj212Platform
) -> None:
    """The platform has the period, its answer is lost, and another process sends it again."""
    clock = MovingClock()
    uplink = config(platform, profile=str(fast_profile(tmp_path)))
    platform.faults = Hj212Faults(lose_every=2)
    for turn in range(3):
        async with running(tmp_path, uplink, clock) as (outbox, tasks):
            if turn == 0:
                await put(outbox, clock, 40, 280)
            # One that is answered, and the next, of which only the platform hears.
            await until(lambda: len(platform.table) == turn + 2)  # noqa: B023
    platform.faults = Hj212Faults()
    async with running(tmp_path, uplink, clock) as (_, tasks):
        await until(lambda: len(platform.answered) == 4)
        await until(lambda: not tasks.tasks[0].feed.behind)
    assert len(platform.periods("2051")) == 4
    assert set(platform.periods("2051").values()) == {1}
    assert platform.repeats == 3


async def test_a_clock_that_was_set_back_gives_no_number_twice(
    tmp_path: Path, platform: Hj212Platform
) -> None:
    clock = MovingClock()
    uplink = config(platform, profile=str(fast_profile(tmp_path)))
    async with running(tmp_path, uplink, clock) as (outbox, _):
        await put(outbox, clock, 40, 160)
        await until(lambda: len(cps(platform, "2051")) == 2)
    clock.wall_ms = WALL_MS + 130_000
    async with running(tmp_path, uplink, clock) as (outbox, _):
        await outbox.put([sample(42)], {})
        await until(lambda: len(cps(platform, "2051")) == 3)
    numbers = [item.qn for item in platform.heard if item.cn == "2051"]
    assert numbers == sorted(set(numbers))


async def test_what_the_medium_refuses_once_is_kept_the_next_time(
    tmp_path: Path, platform: Hj212Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit fails after the records were counted; then the process ends."""
    clock = MovingClock()
    uplink = config(platform, profile=str(fast_profile(tmp_path)))
    kept = PeriodStore.commit
    refused: list[AggregatePeriod] = []

    def commit(
        self: PeriodStore,
        periods: Iterable[AggregatePeriod],
        state: Mapping[str, str],
        newest_ms: int,
        sending: Iterable[PeriodUpload] = (),
    ) -> None:
        periods = list(periods)
        if not refused and any(period.ranges for period in periods):
            refused.extend(periods)
            raise OSError("no room")
        kept(self, periods, state, newest_ms, sending)

    monkeypatch.setattr(PeriodStore, "commit", commit)
    platform.faults = Hj212Faults(mute=True)
    async with running(tmp_path, uplink, clock) as (outbox, _):
        await put(outbox, clock, 40, 100)
        await until(lambda: len(platform.heard) >= 2)
    assert refused
    platform.faults = Hj212Faults()
    async with running(tmp_path, uplink, clock) as (outbox, _):
        await until(lambda: cps(platform, "2051"))
    # 44.010 / 24.4654 of 40 to 96 ppm, as in the file beside this one
    assert "a05001-Min=72.0,a05001-Avg=122.3,a05001-Max=172.7" in cps(platform, "2051")[0]


def test_a_file_of_the_version_before_is_read_and_extended(tmp_path: Path) -> None:
    path = tmp_path / "periods.db"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(VERSION_1)
    store = PeriodStore(path)
    (period,) = store.pending()
    assert (period.cn, period.start_ms, period.revision, period.sent) == ("2051", 60000, 2, 0)
    assert (store.state(), store.sending()) == ({"stream": "7"}, [])
    body = ((("DataTime", "19700101080100"),), (("a01001-Avg", "1.0"), ("a01001-Flag", "N")))
    upload = PeriodUpload(period, 2, body, is_backfill=True, qns=("20160801085857223",))
    store.commit([], {}, 0, [upload])
    store.close()
    store = PeriodStore(path)
    assert store.sending() == [upload]
    period.sent = 2
    store.commit([period], {}, 0)
    assert store.sending() == []
    store.close()
