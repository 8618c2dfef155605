"""What the collector keeps of each batch, and how it notices that its database went back."""

import hashlib
import logging
import shutil
import sqlite3
from pathlib import Path

import pytest

from gateway_agent.collector.audit import Audit
from gateway_agent.collector.audit_tables import open_for_audit
from gateway_agent.collector.database import Database
from gateway_agent.collector.receiver import ACCEPTED, DUPLICATE, EARLY, EARLY_ALARM, FORK
from gateway_agent.store.errors import StoreBusy
from protocols.uplink import GENESIS, Gap, fold, gap_record
from tests.unit.gateway_agent.test_collector import Chain, Collector, node_record, readings, stamp

VERSION_1 = Path(__file__).with_name("collector_v1.sql")


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


def restore(directory: Path, image: dict[str, bytes]) -> None:
    for path in directory.iterdir():
        if path.is_file():
            path.unlink()
    for name, data in image.items():
        (directory / name).write_bytes(data)


def test_every_accepted_batch_is_kept_as_it_was_received_in_one_chain(tmp_path: Path) -> None:
    collector = Collector(tmp_path)
    one, two = Chain(1), Chain(2)
    sent = [one.batch(readings(1, 3)), two.batch(readings(11, 13)), one.batch(readings(4, 5))]
    for data in sent:
        collector.take(data, ACCEPTED)
    collector.take(sent[0], DUPLICATE)
    kept = collector.rows("SELECT number, stream, first, last, data FROM batches"
                          " JOIN streams ON streams.id = stream_id ORDER BY number")  # fmt: skip
    assert kept == [(1, 1, 1, 3, sent[0]), (2, 2, 1, 3, sent[1]), (3, 1, 4, 5, sent[2])]
    chain = bytes(32)
    for (here,), data in zip(
        collector.rows("SELECT chain FROM batches ORDER BY number"), sent, strict=True
    ):
        chain = hashlib.sha256(chain + data).digest()
        assert here == chain
    collector.database.close()
    (identity,) = collector.rows("SELECT id FROM database")
    witness = (tmp_path / "collector.head").read_text().split()
    assert witness[:3] == [str(identity[0]), "3", chain.hex()]


def test_a_kept_batch_and_its_rows_are_one_commit(tmp_path: Path) -> None:
    collector = Collector(tmp_path)
    connection = collector.database._db
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        collector.receiver.receive(Chain().batch(readings(1, 200)), "gw-1")
    assert collector.rows("SELECT count(*) FROM batches") == [(0,)]
    collector.database.close()


@pytest.mark.parametrize("case", ["older", "older log", "nothing", "another", "flipped evidence"])
def test_a_database_that_went_back_is_an_alarm(
    tmp_path: Path, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    chain = Chain()
    first = Collector(tmp_path)
    first.take(chain.batch(readings(1, 3)), ACCEPTED)
    first.database.close()
    backup = files(tmp_path)
    second = Collector(tmp_path)
    assert second.database.alarms == []
    second.take(chain.batch(readings(4, 6)), ACCEPTED)
    running = files(tmp_path)
    second.database.close()
    witness = (tmp_path / "collector.head").read_bytes()
    image = {"collector.db": backup["collector.db"]}
    if case == "older log":
        log = bytearray(running["collector.db-wal"])
        log[-4000] ^= 1
        image = {name: running[name] for name in ("collector.db",)} | {
            "collector.db-wal": bytes(log)
        }
    elif case == "nothing":
        image = {}
    elif case == "another":
        other = tmp_path / "other"
        other.mkdir()
        Collector(other).database.close()
        image = {"collector.db": (other / "collector.db").read_bytes()}
        shutil.rmtree(other)
    elif case == "flipped evidence":
        image = {"collector.db": (tmp_path / "collector.db").read_bytes()}
    restore(tmp_path, image | {"collector.head": witness})
    if case == "flipped evidence":
        connection = sqlite3.connect(tmp_path / "collector.db")
        with connection:
            connection.execute("UPDATE batches SET chain = zeroblob(32) WHERE number = 2")
        connection.close()
    with caplog.at_level(logging.ERROR):
        third = Collector(tmp_path)
    (alarm,) = third.database.alarms
    expected = {
        "older": "ends at batch 1, and 2 were written", "older log": "ends at batch 1, and 2",
        "nothing": "another database", "another": "another database",
        "flipped evidence": "up to batch 2 is not what was written",
    }[case]  # fmt: skip
    assert expected in alarm
    assert expected in caplog.text
    assert third.database.counters()["database_went_back"] == 1
    third.database.close()
    # It is known from now on.
    fourth = Collector(tmp_path)
    assert fourth.database.alarms == []
    fourth.database.close()


def test_a_database_moved_elsewhere_is_no_alarm(tmp_path: Path) -> None:
    collector = Collector(tmp_path)
    collector.take(Chain().batch(readings(1, 3)), ACCEPTED)
    collector.database.close()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(collector.path, elsewhere)
    moved = Collector(elsewhere)
    assert moved.database.alarms == []
    moved.database.close()


def test_a_head_file_that_lags_behind_is_no_alarm(tmp_path: Path) -> None:
    """As after SIGKILL: the newest commit is not in the file yet."""
    collector = Collector(tmp_path)
    chain = Chain()
    collector.take(chain.batch(readings(1, 3)), ACCEPTED)
    collector.database.settle()
    old = (tmp_path / "collector.head").read_bytes()
    collector.take(chain.batch(readings(4, 6)), ACCEPTED)
    collector.database.close()
    (tmp_path / "collector.head").write_bytes(old)
    again = Collector(tmp_path)
    assert again.database.alarms == []
    again.database.close()


def test_one_process_has_the_database(tmp_path: Path) -> None:
    collector = Collector(tmp_path)
    with pytest.raises(StoreBusy, match="another collector has"):
        Database(collector.path)
    collector.database.close()
    Database(collector.path).close()


def test_a_gateway_that_names_a_loss_is_an_alarm(tmp_path: Path) -> None:
    collector = Collector(tmp_path)
    lost = Gap("db_truncated", None, 7, 9, "outbox stream 5 records 7 to 9: gone")
    collector.take(Chain().batch([gap_record("gw-1", lost, stamp(1))]), ACCEPTED)
    assert collector.receiver.alarms == [
        "gw-1: records are lost: outbox stream 5 records 7 to 9: gone"
    ]
    collector.database.close()


def test_a_gateway_that_cannot_go_on_is_shown_and_then_an_alarm(tmp_path: Path) -> None:
    collector = Collector(tmp_path)
    chain = Chain()
    missing = chain.batch(readings(1, 3))
    early = chain.batch(readings(4, 6))
    for count in range(1, EARLY_ALARM + 1):
        collector.take(early, EARLY)
        assert len(collector.receiver.waiting) == 1
        assert len(collector.receiver.alarms) == (count == EARLY_ALARM)
    assert "sends record 4 of stream 1, here it ends at 0" in collector.receiver.alarms[0]
    collector.take(missing, ACCEPTED)
    assert (collector.receiver.waiting, collector.receiver.alarms) == ([], [])
    collector.database.close()


def test_the_boot_of_one_gateway_gives_no_times_to_another(tmp_path: Path) -> None:
    """A boot id is no secret; who repeats it must not date the records of others."""
    collector = Collector(tmp_path)
    collector.take(Chain().batch(readings(1, 2)), ACCEPTED)
    connection = collector.database._db
    connection.execute("UPDATE streams SET gateway = 'gw-2'")
    connection.execute("UPDATE records SET time_ms = NULL, clock = 'none'")
    collector.take(Chain().batch(readings(3, 4)), ACCEPTED)
    rows = collector.rows("SELECT time_ms IS NULL FROM records ORDER BY stream_id, seq")
    assert rows == [(1,), (1,), (0,), (0,)]
    collector.database.close()


def test_a_database_of_version_1_goes_on(tmp_path: Path) -> None:
    """The dump is of a file that the code of version 1 wrote: 8 records, one of them refused."""
    old = sqlite3.connect(tmp_path / "collector.db")
    old.executescript(VERSION_1.read_text())
    before = old.execute("SELECT * FROM measurements ORDER BY stream, seq, name").fetchall()
    old.close()
    collector = Collector(tmp_path)
    assert collector.database.alarms == []
    after = collector.rows("SELECT * FROM measurements ORDER BY stream, seq, name")
    assert after == before
    assert len(before) == 16
    assert collector.database.counters()["batches_accepted"] == 4
    assert len(collector.rows("SELECT * FROM refused")) == 1
    assert collector.rows("SELECT count(*), max(length(data)) FROM batches") == [(4, 0)]
    assert collector.rows("SELECT device, gateway FROM devices ORDER BY device") == [
        ("gw-1.co2", "gw-1"), ("tf-0102030405060708090a0b0c", "gw-1"),
    ]  # fmt: skip
    assert collector.rows("SELECT first, slots, from_ms, to_ms FROM gaps") == [
        (7, None, None, None)
    ]
    # Stream 1 goes on where it was, and what comes again is recognised.
    sent = [*readings(1, 3)]
    gap = Gap("bus_timeout", 3, 7, 9, "unit 1: no answer within 500 ms")
    sent += [node_record(1), node_record(2, b"forged" * 6)]
    sent += [gap_record("tf-0102030405060708090a0b0c", gap, stamp(1))]
    sent += readings(4, 5, clock=False)
    chain = Chain()
    chain.last, chain.head = 8, fold(GENESIS, [record.data for record in sent])
    collector.take(chain.batch(readings(6, 7)), ACCEPTED)
    assert collector.rows("SELECT max(seq) FROM records WHERE stream_id = 1") == [(10,)]
    collector.database.close()
    again = Collector(tmp_path)
    assert again.database.alarms == []
    again.database.close()


def test_a_migration_that_is_interrupted_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = sqlite3.connect(tmp_path / "collector.db")
    old.executescript(VERSION_1.read_text())
    before = list(old.iterdump())
    old.close()
    with monkeypatch.context() as patch:

        def failing(*_: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        patch.setattr("gateway_agent.collector.migration.begin", failing)
        with pytest.raises(sqlite3.OperationalError, match="full"):
            Database(tmp_path / "collector.db")
    old = sqlite3.connect(tmp_path / "collector.db")
    assert list(old.iterdump()) == before
    old.close()
    Database(tmp_path / "collector.db").close()


def test_a_gateway_that_goes_by_puback_goes_on_after_the_database_was_lost(tmp_path: Path) -> None:
    """It has forgotten what the broker took, so nothing can come again: the range is a gap."""
    collector = Collector(tmp_path)
    chain = Chain()
    chain.batch(readings(1, 30))
    early = chain.build(31, chain.head, [r.data for r in readings(31, 32)])
    collector.take(early, EARLY)  # one that waits for receipts may still have them
    collector.take(chain.batch(readings(31, 33), released=29), EARLY)
    chain.batch(readings(34, 35))
    receipt = collector.take(chain.batch(readings(36, 37), released=35), ACCEPTED)
    assert receipt is not None
    assert receipt.contiguous_to == 37
    collector.take(chain.batch(readings(38, 39), released=37), ACCEPTED)
    assert collector.rows("SELECT device, cause, seq, first, last FROM gaps") == [
        ("gw-1", "db_truncated", 1, 1, 35)
    ]
    assert collector.rows("SELECT seq FROM records WHERE kind <> 'gap' ORDER BY seq") == [
        (36,), (37,), (38,), (39,),
    ]  # fmt: skip
    (alarm,) = collector.receiver.alarms
    assert "records 1 to 35 of stream 1: it goes by PUBACK" in alarm
    assert collector.receiver.waiting == []
    connection = open_for_audit(collector.path)
    run = Audit(connection)
    assert list(run.run()) == []
    assert run.missing == 35
    connection.close()
    collector.database.close()
    again = Collector(tmp_path)
    assert again.database.alarms == []
    again.database.close()


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE gaps SET last = 34",
        "UPDATE gaps SET detail = ''",
        "DELETE FROM gaps",
        "UPDATE records SET device = 'gw-2' WHERE kind = 'gap'",
        "UPDATE records SET auth = 'none' WHERE kind = 'gap'",
        "UPDATE batches SET last = 34, data = replace(data, ' 35 ', ' 34 ') WHERE number = 1",
        "UPDATE batches SET data = x'' WHERE number = 1",
    ],
)
def test_the_audit_finds_another_range(tmp_path: Path, sql: str) -> None:
    collector = Collector(tmp_path)
    chain = Chain()
    chain.batch(readings(1, 35))
    collector.take(chain.batch(readings(36, 37), released=35), ACCEPTED)
    connection = open_for_audit(collector.path)
    assert list(Audit(connection).run()) == []
    connection.close()
    collector.database._db.execute(sql)
    connection = open_for_audit(collector.path)
    assert list(Audit(connection).run())
    connection.close()
    collector.database.close()


def test_a_gateway_that_contradicts_for_long_is_an_alarm(tmp_path: Path) -> None:
    collector = Collector(tmp_path)
    chain = Chain()
    collector.take(chain.batch(readings(1, 4)), ACCEPTED)
    other = Chain()
    other.batch(readings(5, 6))
    forked = other.batch(readings(7, 9))
    for _ in range(EARLY_ALARM):
        assert collector.receiver.alarms == []
        collector.take(forked, FORK)
    (alarm,) = collector.receiver.alarms
    assert "contradicts what is here of stream 1" in alarm
    collector.take(chain.batch(readings(5, 5)), ACCEPTED)
    assert collector.receiver.alarms == []
    collector.database.close()
