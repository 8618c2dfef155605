"""Old readings are thinned, only what is proved goes, and the audit proves what is left."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway_agent.cli import app
from gateway_agent.collector.archive import BatchArchive
from gateway_agent.collector.config import RetentionConfig, parse
from gateway_agent.collector.receiver import ACCEPTED, DUPLICATE
from gateway_agent.collector.retention import DAY_MS, Retention, RetentionResult, run
from gateway_agent.tables import ConfigError
from protocols.uplink import Gap, gap_record

from .test_collector import WALL_MS, Chain, Collector, node_record, readings, stamp
from .test_collector_archive import archive_of, audited, change, files
from .test_collector_audit import KEYS, NODES
from .test_collector_rebuild import rebuild

RECORDS = 240  # a record a second: four minutes


class Kept:
    """A collector with an archive, and its rule."""

    def __init__(self, directory: Path) -> None:
        self.collector = Collector(directory)
        self.archive: BatchArchive = archive_of(self.collector)
        self.now_ms = WALL_MS

    def rule(self, raw: int = 1, minute: int = 0, hour: int = 0) -> Retention:
        return Retention(
            self.collector.path,
            RetentionConfig(raw_days=raw, minute_days=minute, hour_days=hour),
            lambda gateway, kid: KEYS.get(gateway, {}).get(kid),
            lambda uid, number: NODES.get((uid, number)),
            lambda: self.now_ms,
        )

    def retain(self, raw: int = 1, minute: int = 0, hour: int = 0) -> RetentionResult:
        return run(self.rule(raw, minute, hour), self.collector.database.connection, self.archive)

    def later(self, days: int) -> None:
        """Let days pass; a gateway's clock shows them, too."""
        self.now_ms = WALL_MS + days * DAY_MS
        with closing(sqlite3.connect(self.collector.path, isolation_level=None)) as connection:
            # What a later boot's anchor would bring, without its records.
            connection.execute(
                "INSERT OR REPLACE INTO anchors VALUES ('gw-1', ?, 999999, 0, ?, 10,"
                " 'synchronised', NULL)", (b"later" * 3 + b"!", self.now_ms),
            )  # fmt: skip

    def forget_later(self) -> None:
        change(self.collector.path, "DELETE FROM anchors WHERE number = 999999")

    def count(self, what: str) -> int:
        ((count,),) = self.collector.rows(f"SELECT count(*) FROM {what}")  # noqa: S608 # ours
        assert isinstance(count, int)
        return count


def four_minutes(directory: Path) -> Kept:
    """Four minutes of two points, a gap and a node's sample, all archived."""
    made, chain = Kept(directory), Chain()
    for first in range(1, RECORDS, 40):
        made.collector.take(chain.batch(readings(first, first + 39)), ACCEPTED)
    gap = Gap("bus_timeout", None, None, None, "silent", 2, 13_000, 14_000)
    made.collector.take(
        chain.batch([gap_record("gw-1.co2", gap, stamp(300)), node_record(301)]), ACCEPTED
    )
    while made.archive.advance(now=True):
        pass
    return made


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    made = four_minutes(tmp_path)
    yield made
    made.collector.database.close()


def test_readings_become_minutes_with_count_and_bounds(kept: Kept) -> None:
    by_hand = kept.collector.rows(
        "SELECT device, name, time_ms / 60000 * 60000, count(*), min(value), max(value), avg(value)"
        " FROM measurements GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    )
    before = {table: kept.count(table) for table in ("records", "gaps", "readings")}
    kept.later(3)
    done = kept.retain()
    kept.forget_later()
    assert (done.readings, done.kept) == (before["readings"], [])
    assert kept.count("readings") == 0
    assert (kept.count("records"), kept.count("gaps")) == (before["records"], before["gaps"])
    thinned = kept.collector.rows(
        "SELECT device, name, time_ms, count, least, most, mean FROM thinned_measurements"
        " ORDER BY 1, 2, 3"
    )
    assert [row[:6] for row in thinned] == [row[:6] for row in by_hand]
    assert [row[6] for row in thinned] == pytest.approx([row[6] for row in by_hand])
    assert kept.collector.rows("SELECT sum(length(data)) FROM batches") == [(0,)]
    assert audited(kept.collector.path) == []


def test_a_dry_run_changes_nothing_and_names_the_same(kept: Kept) -> None:
    kept.later(3)
    path = kept.collector.path
    with closing(sqlite3.connect(path)) as connection:
        before = list(connection.iterdump())
        index = next(path.with_suffix(".archive").glob("*/index")).read_bytes()
        dry = run(kept.rule(), connection, None)
        assert list(connection.iterdump()) == before
    assert next(path.with_suffix(".archive").glob("*/index")).read_bytes() == index
    done = kept.retain()
    assert (dry.segments, dry.readings) == (done.segments, done.readings)
    assert done.readings > 0


def test_minutes_become_hours_and_hours_go(kept: Kept) -> None:
    kept.later(3)
    readings_before = kept.retain().readings
    kept.later(30)
    assert kept.retain(1, 10).minutes > 0
    assert kept.collector.rows("SELECT DISTINCT width_s FROM thinned") == [(3600,)]
    assert kept.collector.rows("SELECT sum(count) FROM thinned") == [(readings_before,)]
    kept.forget_later()
    assert audited(kept.collector.path) == []
    kept.later(500)
    assert kept.retain(1, 10, 400).hours > 0
    assert kept.count("thinned") == 0
    kept.forget_later()
    assert audited(kept.collector.path) == []


UNPROVED = {
    "a row was changed": lambda kept: change(
        kept.collector.path, "UPDATE packed_readings SET numbers = '[1,1]' WHERE seq = 5"
    ),
    "a file of the archive is gone": lambda kept: files(kept.collector.path)[0].unlink(),
    "the archive is gone": lambda kept: shutil.rmtree(kept.archive.path),
}


@pytest.mark.parametrize("what", UNPROVED)
def test_what_is_not_proved_stays(kept: Kept, what: str) -> None:
    UNPROVED[what](kept)
    kept.later(3)
    before = kept.count("readings")
    try:
        done = kept.retain()
    except (OSError, ValueError):
        done = None
    assert done is None or done.kept
    with closing(sqlite3.connect(kept.collector.path)) as connection:
        first = connection.execute(
            "SELECT count(*) FROM packed_readings WHERE seq <= 40"
        ).fetchone()
    assert first == (40,)
    assert what != "the archive is gone" or kept.count("readings") == before


def test_what_is_not_archived_or_not_old_or_has_no_key_stays(kept: Kept) -> None:
    before = kept.count("readings")
    assert kept.retain().readings == 0  # as old as the newest clock shows
    kept.now_ms = WALL_MS + 400 * DAY_MS  # only this machine's clock says so
    assert kept.retain().readings == 0
    kept.later(3)
    stranger = Retention(
        kept.collector.path, RetentionConfig(raw_days=1), lambda _g, _k: None, lambda _u, _n: None,
        lambda: kept.now_ms,
    )  # fmt: skip
    assert run(stranger, kept.collector.database.connection, kept.archive).kept
    assert kept.count("readings") == before
    kept.collector.take(Chain(2).batch(readings(400, 401)), ACCEPTED)
    kept.retain()
    assert kept.count("readings") == 4


def test_a_record_that_comes_again_is_still_stored_once(kept: Kept) -> None:
    chain = Chain()
    first = chain.batch(readings(1, 40))
    kept.later(3)
    kept.retain()
    kept.collector.take(first, DUPLICATE)
    before = kept.count("records")
    kept.collector.take(Chain(7).batch(readings(1, 40)), ACCEPTED)  # in another stream
    assert (kept.count("records"), kept.count("readings")) == (before, 0)


TAMPERED = {
    "a minute is changed": "UPDATE thinned SET most = most + 1 WHERE start_s ="
    " (SELECT min(start_s) FROM thinned)",
    "a minute is gone": "DELETE FROM thinned WHERE start_s = (SELECT max(start_s) FROM thinned)",
    "a minute is new": "INSERT INTO thinned SELECT point_id, 60, start_s + 86400, 1, 1, 1, 1"
    " FROM thinned LIMIT 1",
    "a count is changed": "UPDATE thinned SET count = count + 1 WHERE point_id = 1",
}


@pytest.mark.parametrize("what", TAMPERED)
def test_a_change_to_what_is_left_is_found(kept: Kept, what: str) -> None:
    kept.later(3)
    kept.retain()
    kept.forget_later()
    change(kept.collector.path, TAMPERED[what])
    assert [text for text in audited(kept.collector.path) if text.startswith("thinned: ")]


def test_a_removal_that_no_line_states_is_found(kept: Kept) -> None:
    path = kept.collector.path
    change(
        path, "DELETE FROM packed_readings", "UPDATE batches SET data = x''",
        "INSERT INTO removals SELECT first, last, 9 FROM archived",
    )  # fmt: skip
    found = audited(path)
    assert [text for text in found if "the index has no line about their removal" in text]
    assert [text for text in found if text.startswith("readings: record 1 of")]


def test_a_kill_between_the_line_and_the_rows_is_taken_up_again(kept: Kept) -> None:
    kept.later(3)
    (segment, *_) = kept.rule().due(kept.collector.database.connection)
    kept.archive.state("removed", *segment[:2])  # and then the process was killed
    kept.forget_later()
    assert audited(kept.collector.path) == []  # all rows are there
    kept.later(3)
    assert kept.retain().kept == []
    assert kept.count("readings") == 0
    kept.forget_later()
    assert audited(kept.collector.path) == []


def test_a_thinned_database_is_made_anew_from_its_archive(kept: Kept) -> None:
    before = kept.collector.rows("SELECT * FROM measurements ORDER BY device, seq, name")
    kept.later(3)
    kept.retain()
    kept.collector.database.close()
    kept.forget_later()
    assert rebuild(kept.collector.path).missing == []
    kept.collector = Collector(kept.collector.path.parent)
    assert kept.collector.rows("SELECT * FROM measurements ORDER BY device, seq, name") == before


def test_a_start_proves_a_database_whose_newest_batches_are_thinned(kept: Kept) -> None:
    from gateway_agent.collector.audit import prove_tail

    kept.later(3)
    kept.retain()
    kept.forget_later()
    prove_tail(kept.collector.path, KEYS, NODES)


def test_ages_that_contradict_each_other_are_named(tmp_path: Path) -> None:
    tables: dict[str, object] = {
        "collector": {"key": "c.pem", "database": "c.db"},
        "broker": {"host": "127.0.0.1"},
        "gateway": [{"id": "gw-1", "keys": ["g.pub"]}],
        "retention": {"raw_days": 90, "minute_days": 30},
    }
    with pytest.raises(ConfigError, match=r"retention\.minute_days"):
        parse(tables, tmp_path / "collector.toml")


def test_the_command_shows_what_it_would_do(kept: Kept, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization as s

    from .test_collector import COLLECTOR_KEY, GATEWAY_KEY

    kept.later(3)
    (tmp_path / "c.pem").write_bytes(
        COLLECTOR_KEY.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())
    )
    (tmp_path / "c.pem").chmod(0o600)
    (tmp_path / "g.pub").write_bytes(
        GATEWAY_KEY.public_key().public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo)
    )
    config = tmp_path / "collector.toml"
    config.write_text(
        '[collector]\nkey = "c.pem"\ndatabase = "collector.db"\n[broker]\nhost = "127.0.0.1"\n'
        '[[gateway]]\nid = "gw-1"\nkeys = ["g.pub"]\n[retention]\nraw_days = 1\n'
    )
    done = CliRunner().invoke(app, ["retain", "-c", str(config), "--dry-run", "--json"])
    assert (done.exit_code, json.loads(done.stdout)["readings"]) == (0, kept.count("readings"))
    busy = CliRunner().invoke(app, ["retain", "-c", str(config)])
    assert busy.exit_code != 0
    assert "another collector" in busy.output
    kept.collector.database.close()
    done = CliRunner().invoke(app, ["retain", "-c", str(config)])
    assert done.exit_code == 0, done.output
    kept.collector = Collector(tmp_path)
    assert kept.count("readings") == 0
