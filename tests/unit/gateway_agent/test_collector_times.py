"""What time a record has in the collector: its own, or that of the best anchor of its boot."""

import random
import sqlite3
from pathlib import Path

import pytest

from gateway_agent.collector import dating
from gateway_agent.collector.audit import Audit, prove_tail
from gateway_agent.collector.audit_tables import open_for_audit
from gateway_agent.collector.receiver import ACCEPTED
from protocols.uplink import (
    CLOCK_HOLDOVER,
    CLOCK_SERVER,
    CLOCK_SYNCHRONISED,
    Anchor,
    ProfileTemplate,
    Record,
    Stamp,
)
from tests.unit.gateway_agent.test_collector import (
    BOOT_ID,
    NO_CLOCK,
    WALL_MS,
    Chain,
    Collector,
    readings,
)

VERSION_3 = Path(__file__).with_name("collector_v3.sql")
HOUR_MS = 3_600_000
YEAR_MS = 365 * 24 * HOUR_MS
DEVICE = ProfileTemplate("gw-1.co2", (("co2", "ppm", 0),))
# At the time t of its boot the true time is WALL_MS + t.


def records(
    times: range, wrong_ms: int | None = None, unc_ms: int = 0, state: int = CLOCK_HOLDOVER
) -> list[Record]:
    """Records made at these times of the boot; ``wrong_ms`` is the error of their clock."""
    return [
        DEVICE.record(
            (at % 1000,),
            Stamp(at, at, None, 0, 0)
            if wrong_ms is None
            else Stamp(at, at, WALL_MS + at + wrong_ms, unc_ms, state),
        )
        for at in times
    ]


def anchor(at: int, wrong_ms: int = 0, unc_ms: int = 20, state: int = CLOCK_SYNCHRONISED) -> Anchor:
    return Anchor(BOOT_ID, at, WALL_MS + at + wrong_ms, unc_ms, state)


def times(collector: Collector) -> list[tuple[int | None, int, str]]:
    """How wrong each time is, its bound, and its clock."""
    connection = collector.database._db
    return connection.execute(
        "SELECT time_ms - resp_ms - ?, unc_ms, clock FROM records ORDER BY seq", (WALL_MS,)
    ).fetchall()


def findings(collector: Collector) -> list[object]:
    """Those of an audit of everything and of one of the end."""
    connection = open_for_audit(collector.path)
    try:
        found: list[object] = list(Audit(connection).run())
    finally:
        connection.close()
    prove_tail(collector.path, {}, {})
    return found


def contradictions(collector: Collector) -> int:
    return collector.database.counters().get("times_contradicted", 0)


@pytest.fixture
def collector(tmp_path: Path) -> Collector:
    return Collector(tmp_path)


@pytest.mark.parametrize("wrong_ms", [HOUR_MS, -HOUR_MS, YEAR_MS])
def test_a_wide_bound_is_repaired_by_a_good_anchor(collector: Collector, wrong_ms: int) -> None:
    chain = Chain()
    wide = abs(wrong_ms) + HOUR_MS
    collector.take(
        chain.batch(
            records(range(1000, 5000, 1000), wrong_ms, wide),
            anchor(5000, wrong_ms, wide, CLOCK_HOLDOVER),
        ),
        ACCEPTED,
    )
    assert {time[0] for time in times(collector)} == {wrong_ms}
    assert findings(collector) == []
    # A receipt's time, then the kernel's.
    collector.take(
        chain.batch(
            records(range(5000, 7000, 1000), wrong_ms, wide), anchor(7000, 30, 80, CLOCK_SERVER)
        ),
        ACCEPTED,
    )
    assert all(time[0] == 30 and time[1] <= 81 for time in times(collector)), times(collector)
    assert findings(collector) == []
    collector.take(chain.batch(records(range(7000, 8000, 1000), 0, 20, 3), anchor(8000)), ACCEPTED)
    for wrong, bound, clock in times(collector):
        assert wrong == 0
        assert bound <= 21
        assert clock == "synchronised"
    assert findings(collector) == []
    assert contradictions(collector) == 0
    assert collector.receiver.alarms == []


def test_an_earlier_anchor_of_the_boot_dates_too(collector: Collector) -> None:
    """The agent began again in the same boot, and nothing has vouched for the clock since."""
    chain = Chain()
    collector.take(chain.batch(records(range(1000, 3000, 1000), 0, 20, 3), anchor(3000)), ACCEPTED)
    collector.take(chain.batch(records(range(103_000, 105_000, 1000)), NO_CLOCK), ACCEPTED)
    assert times(collector)[2:] == [(0, 30, "synchronised"), (0, 31, "synchronised")]
    assert findings(collector) == []


def test_an_anchor_that_is_worse_changes_nothing(collector: Collector) -> None:
    chain = Chain()
    own = records(range(1000, 4000, 1000), 10, 30, CLOCK_SERVER)
    collector.take(chain.batch(own, anchor(4000, 10, 30, CLOCK_SERVER)), ACCEPTED)
    before = times(collector)
    for worse in (anchor(5000, 9, 29, CLOCK_SERVER), anchor(6000, -2000, 5000, CLOCK_HOLDOVER)):
        collector.take(chain.batch(records(range(5000, 6000, 1000), 0, 5, 3), worse), ACCEPTED)
        assert times(collector)[:3] == before
    # Near it is better, far away its drift makes it worse.
    late = anchor(1_000_000_000, 0, 14, CLOCK_SYNCHRONISED)
    collector.take(chain.batch(records(range(999_999_000, 10**9, 1000), 0, 5, 3), late), ACCEPTED)
    assert times(collector)[:3] == before
    assert findings(collector) == []
    assert contradictions(collector) == 0


def test_the_word_of_a_synchronised_clock_stays(collector: Collector) -> None:
    chain = Chain()
    own = records(range(1000, 4000, 1000), 200, 500, CLOCK_SYNCHRONISED)
    collector.take(chain.batch(own, anchor(4000, 200, 500)), ACCEPTED)
    collector.take(chain.batch(records(range(5000, 6000, 1000), 0, 5, 3), anchor(6000)), ACCEPTED)
    assert times(collector)[:3] == [(200, 500, "synchronised")] * 3
    # Unless it vouches for nearly nothing.
    own = records(range(7000, 8000, 1000), 9000, 16_000, CLOCK_SYNCHRONISED)
    collector.take(chain.batch(own, anchor(8000)), ACCEPTED)
    assert times(collector)[-1] == (200, 501, "synchronised")
    assert findings(collector) == []


@pytest.mark.parametrize("state", [CLOCK_HOLDOVER, CLOCK_SERVER, CLOCK_SYNCHRONISED])
def test_an_anchor_outside_the_honest_bound_is_named_and_changes_nothing(
    collector: Collector, state: int
) -> None:
    chain = Chain()
    own = records(range(1000, 4000, 1000), HOUR_MS // 2, HOUR_MS)
    collector.take(chain.batch(own, anchor(4000, HOUR_MS // 2, HOUR_MS, CLOCK_HOLDOVER)), ACCEPTED)
    before = times(collector)
    forged = anchor(5000, 3 * HOUR_MS, 5, state)
    collector.take(chain.batch(records(range(4000, 5000, 1000)), forged), ACCEPTED)
    assert times(collector)[:3] == before
    assert contradictions(collector) == 1
    (alarm,) = collector.receiver.alarms
    assert "contradict" in alarm
    assert "gw-1" in alarm
    # The good one still repairs, and the alarm is not repeated.
    collector.take(chain.batch(records(range(5000, 6000, 1000)), anchor(6000)), ACCEPTED)
    assert all(wrong == 0 and bound <= 21 for wrong, bound, _ in times(collector))
    collector.take(chain.batch(records(range(6000, 7000, 1000)), forged), ACCEPTED)
    assert contradictions(collector) == 2
    assert len(collector.receiver.alarms) == 1
    assert findings(collector) == []


def test_a_contradicting_first_anchor_is_named(collector: Collector) -> None:
    """Here the records have the honest bound, and no anchor before has one."""
    chain = Chain()
    own = records(range(1000, 4000, 1000), 0, HOUR_MS)
    collector.take(chain.batch(own, NO_CLOCK), ACCEPTED)
    before = times(collector)
    collector.take(
        chain.batch(records(range(4000, 5000, 1000)), anchor(5000, YEAR_MS, 5)), ACCEPTED
    )
    assert times(collector)[:3] == before
    assert contradictions(collector) == 3
    assert len(collector.receiver.alarms) == 1
    assert findings(collector) == []


def test_whatever_honest_anchors_come_times_are_right_within_their_bounds(tmp_path: Path) -> None:
    chooser = random.Random(11)
    for run in range(15):
        (tmp_path / str(run)).mkdir()
        collector = Collector(tmp_path / str(run))
        chain, at, counted = Chain(), 1000, 0
        best: int | None = None
        for _ in range(12):
            step = chooser.choice([10, 1000, 300_000])
            bound = chooser.choice([None, 3, 900, HOUR_MS])
            wrong = None if bound is None else chooser.randint(-bound, bound)
            state = chooser.choice([1, 2, 3])
            made = records(range(at, at + 3 * step, step), wrong, bound or 0, state)
            at += 3 * step
            bound = chooser.choice([None, 3, 900, HOUR_MS])
            if bound is None:
                collector.take(chain.batch(made, NO_CLOCK), ACCEPTED)
            else:
                best = bound if best is None else min(best, bound)
                wrong = chooser.randint(-bound, bound)
                collector.take(chain.batch(made, anchor(at, wrong, bound, state)), ACCEPTED)
            counted += 3
            if chooser.random() < 0.3:  # the collector begins again
                collector.database.close()
                collector = Collector(tmp_path / str(run))
        found = times(collector)
        assert len(found) == counted
        for wrong, bound, _ in found:
            assert (wrong is None) == (best is None)
            assert wrong is None or abs(wrong) <= bound
            if best is not None:  # 100 ppm over the boot, and twice what the best anchor had
                assert bound <= 2 * (best + at // 10_000 + 2) or bound <= 1000
        assert findings(collector) == []
        assert contradictions(collector) == 0
        collector.database.close()


def test_earlier_records_are_dated_in_parts_and_a_death_between_them_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dating, "PART", 7)
    collector = Collector(tmp_path)
    chain = Chain()
    for first in range(0, 60, 20):
        # Three records each millisecond: a part must not cut them.
        made = [r for at in range(first, first + 20) for r in records(range(at, at + 1)) * 3]
        collector.take(chain.batch(made, NO_CLOCK), ACCEPTED)
    whole = dating.Dating.date_part
    parts = 0

    def dies(self: dating.Dating) -> int:
        nonlocal parts
        parts += 1
        if parts == 4:
            raise sqlite3.OperationalError("disk I/O error")
        return whole(self)

    with monkeypatch.context() as patch:
        patch.setattr(dating.Dating, "date_part", dies)
        with pytest.raises(sqlite3.OperationalError):
            collector.receiver.receive(chain.batch(records(range(60, 61)), anchor(70)), "gw-1")
    dated = [time for time in times(collector) if time[0] is not None]
    assert 0 < len(dated) < 180
    assert findings(collector) == []  # what is not dated yet is no fault
    collector.database.close()
    again = Collector(tmp_path)
    assert all(wrong == 0 and bound <= 21 for wrong, bound, _ in times(again))
    assert len(times(again)) == 181
    assert findings(again) == []
    again.database.close()


def test_only_records_that_gain_are_written(collector: Collector) -> None:
    chain = Chain()
    collector.take(chain.batch(records(range(100), 0, 5, 3), anchor(100)), ACCEPTED)
    collector.take(chain.batch(records(range(100, 200), 0, 900, 2), NO_CLOCK), ACCEPTED)
    connection = collector.database._db
    before = connection.total_changes
    collector.take(chain.batch(records(range(200, 201), 0, 5, 3), anchor(201, 0, 6)), ACCEPTED)
    assert connection.total_changes - before < 20  # the batch itself, its record and counters
    assert findings(collector) == []


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE records SET time_ms = NULL, unc_ms = 0, clock = 'none' WHERE seq = 1",
        "UPDATE records SET time_ms = time_ms + 1, unc_ms = unc_ms + 1 WHERE seq = 1",
        "UPDATE anchors SET wall_ms = wall_ms + 1",
        "UPDATE anchors SET boot_id = zeroblob(16)",
        "UPDATE anchors SET todo_ms = 5000",
        "DELETE FROM anchors",
        "INSERT INTO anchors VALUES ('gw-1', zeroblob(16), 9, 1, 1, 1, 'server', NULL)",
    ],
)
def test_the_audit_finds_a_changed_time(collector: Collector, sql: str) -> None:
    chain = Chain()
    collector.take(chain.batch(records(range(1000, 4000, 1000)), NO_CLOCK), ACCEPTED)
    collector.take(chain.batch(records(range(4000, 5000, 1000)), anchor(6000)), ACCEPTED)
    assert findings(collector) == []
    collector.database._db.execute(sql)
    connection = open_for_audit(collector.path)
    tables = {finding.table for finding in Audit(connection).run()}
    connection.close()
    assert tables & {"records", "anchors"}


def test_a_database_of_version_3_is_dated_anew(tmp_path: Path) -> None:
    """It dated each record once, by the first anchor: 1 to 4 by a receipt that was 400 ms off."""
    old = sqlite3.connect(tmp_path / "collector.db")
    old.executescript(VERSION_3.read_text())
    assert old.execute("SELECT count(*) FROM records WHERE unc_ms = 504").fetchone() == (4,)
    old.close()
    collector = Collector(tmp_path)
    assert collector.database.alarms == []
    found = times(collector)
    assert len(found) == 9
    assert all(clock == "synchronised" and bound <= 25 for _, bound, clock in found)
    assert {wrong for wrong, _, _ in found} <= {0, -30}  # those with a clock: see `stamp`
    assert findings(collector) == []
    chain = Chain()
    chain.last = 10
    ((_, _, _, chain.head),) = collector.database.positions()
    collector.take(chain.batch(readings(9, 10)), ACCEPTED)
    assert findings(collector) == []
    collector.database.close()


def test_the_rule_and_its_index_have_one_limit() -> None:
    """The index has the records that an anchor may improve, and no others."""
    from gateway_agent.collector.schema import TO_DATE

    connection = sqlite3.connect(":memory:")
    for clock in ("none", "holdover", "server", "synchronised"):
        for unc_ms in (0, 999, 1000, 1001, 10**9):
            ((is_listed,),) = connection.execute(
                f"SELECT {TO_DATE} FROM (SELECT ? AS clock, ? AS unc_ms)",  # noqa: S608 # ours
                (clock, unc_ms),
            )
            assert dating.Dated(1, unc_ms, clock).is_settled != bool(is_listed)
    connection.close()
