"""Damaged tables are made anew from the stored batches; what none of them proves is named."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway_agent.collector import rebuild as rebuild_module
from gateway_agent.collector.batch_log import head_path
from gateway_agent.collector.database import Database
from gateway_agent.collector.rebuild import RebuildKeys, TableRebuild, UnknownGateway
from gateway_agent.collector.receiver import ACCEPTED
from gateway_agent.store import rebuild as store_rebuild
from gateway_agent.store.errors import StoreBusy
from protocols.uplink import open_batch
from tests.paths import ROOT
from tests.unit.gateway_agent.test_collector import Chain, Collector, readings
from tests.unit.gateway_agent.test_collector_audit import (
    KEYS,
    NODES,
    audited,
    command,
    contents,
    kept,
    path,
    public,
)
from tests.unit.gateway_agent.test_collector_evidence import VERSION_1

__all__ = ["kept", "path", "public"]  # fixtures
VALUES = (
    "SELECT gateway, stream, records.device, kind, seq, time_ms, unc_ms, clock, auth, status,"
    " boot_epoch, sample_seq, boot_id, resp_ms, digest, key_id, name, unit, value FROM records"
    " JOIN streams ON streams.id = stream_id LEFT JOIN readings USING (stream_id, seq)"
    " LEFT JOIN points ON points.id = point_id ORDER BY gateway, stream, seq, name"
)


def rebuild(path: Path, keys: RebuildKeys | None = None) -> TableRebuild:
    run = TableRebuild(path, keys or RebuildKeys(KEYS, NODES))
    run.in_place()
    return run


def query(path: Path, sql: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def change(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        for sql in statements:
            connection.execute(sql)
    connection.close()


def whole(path: Path) -> dict[str, object]:
    """What a reader gets, without the ids that a new file has of its own."""
    found: dict[str, object] = {
        table: query(path, f"SELECT * FROM {table} ORDER BY 1, 2")  # noqa: S608 # ours
        for table in ("failures", "events", "gaps", "refused", "devices", "counters", "anchors")
    }
    return found | {"values": query(path, VALUES), "batches": query(path, "SELECT * FROM batches")}


def opens(path: Path) -> None:
    """The collector goes on with the file, without an alarm."""
    database = Database(path)
    alarms = list(database.alarms)
    database.close()
    assert alarms == []


@pytest.mark.parametrize(
    "damage",
    [
        (),
        ("UPDATE packed_readings SET numbers = replace(numbers, '1', '2')",),
        ("DELETE FROM packed_readings WHERE seq % 2", "DELETE FROM records WHERE seq < 4"),
        ("UPDATE packed_readings SET seq = 900 + seq",),
        ("DELETE FROM gaps", "DELETE FROM failures", "DELETE FROM devices", "DELETE FROM anchors"),
        ("UPDATE records SET time_ms = 1, device = 'gw-2.x'", "DELETE FROM streams"),
        ("DROP TABLE packed_readings", "DROP INDEX records_of_device"),
        ("UPDATE streams SET contiguous_to = 1, head = zeroblob(9)", "UPDATE points SET unit = ''"),
        ("UPDATE batches SET stream_id = stream_id + 70, first = 5, head = x'', chain = x'00'",),
    ],
)  # fmt: skip
def test_what_the_batches_prove_is_restored_value_by_value(
    path: Path, damage: tuple[str, ...]
) -> None:
    before = whole(path)
    change(path, *damage)
    run = rebuild(path)
    assert (run.problems, run.missing) == ([], [])
    assert whole(path) == before
    findings, _ = audited(path)
    assert findings == []
    opens(path)
    assert not path.with_name("collector.db.rebuild").exists()
    kept_files = {file.name for file in (path.parent / "quarantine").rglob("1-rebuilt/*")}
    assert "collector.db" in kept_files


@pytest.mark.parametrize(
    ("sql", "missing"),
    [
        ("DELETE FROM batches WHERE number = 2", [(1, 4, 7)]),
        # Records 8 and 9 came a second time in batch 4.
        ("UPDATE batches SET data = x'00' WHERE number IN (2, 3)", [(1, 4, 7)]),
        ("UPDATE batches SET data = x'00' WHERE number = 3", []),
        ("DELETE FROM batches WHERE number = 1", [(1, 1, 3)]),
        # The end: stream 1 ends with batch 4, and its row and the batch's agree on where.
        ("UPDATE batches SET data = x'd284' WHERE number = 4", [(1, 10, 11)]),
        ("UPDATE batches SET data = x'' WHERE number IN (5, 6)", [(2, 1, 3), (3, 1, 3)]),
    ],
)
def test_what_they_do_not_prove_is_a_gap(
    path: Path, sql: str, missing: list[tuple[int, int, int]]
) -> None:
    before = query(path, VALUES)
    change(path, sql)
    run = rebuild(path)
    assert [lost[1:4] for lost in run.missing] == missing
    assert run.problems
    gone = {(stream, seq) for stream, first, last in missing for seq in range(first, last + 1)}
    expected = [row for row in before if (row[1], row[4]) not in gone]
    found = [row for row in query(path, VALUES) if row[8] != "collector"]
    assert found == expected
    named = query(
        path,
        "SELECT stream, first, last FROM gaps JOIN streams ON id = stream_id"
        " WHERE cause = 'db_truncated' ORDER BY 1, 2",
    )
    assert named == missing
    findings, audit = audited(path)
    assert findings == []
    assert audit is not None
    assert audit.missing == len(gone)
    opens(path)
    # A second one changes nothing more.
    again = rebuild(path)
    assert (again.missing, again.problems) == ([], [])
    assert audited(path)[0] == []


def test_the_stream_goes_on_behind_what_is_missing(tmp_path: Path) -> None:
    collector = Collector(tmp_path)
    chain = Chain()
    for first in (1, 3, 5):
        collector.take(chain.batch(readings(first, first + 1)), ACCEPTED)
    collector.database.close()
    change(collector.path, "UPDATE batches SET data = x'00' WHERE number = 3")
    assert [lost[2:4] for lost in rebuild(collector.path).missing] == [(5, 6)]
    again = Collector(tmp_path)
    receipt = again.take(chain.batch(readings(7, 8)), ACCEPTED)
    assert receipt is not None
    assert receipt.contiguous_to == 8
    again.database.close()
    assert audited(collector.path)[0] == []


def test_a_forged_batch_does_not_become_data(path: Path) -> None:
    """Who can write the database has no key of a gateway."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    before = query(path, VALUES)
    (data,) = query(path, "SELECT data FROM batches WHERE number = 2")[0]
    assert isinstance(data, bytes)
    header = open_batch(data, None).header
    forged = Chain().build(
        header.first, header.prev, [record.data for record in readings(50, 51)],
        key=Ed25519PrivateKey.from_private_bytes(b"x" * 32),
    )  # fmt: skip
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE batches SET data = ? WHERE number = 2", (forged,))
    connection.close()
    run = rebuild(path)
    assert [lost[1:4] for lost in run.missing] == [(1, 4, 7)]
    found = [row for row in query(path, VALUES) if row[8] != "collector"]
    assert found == [
        row for row in before if (row[1], row[4]) not in {(1, 4), (1, 5), (1, 6), (1, 7)}
    ]


def test_batches_in_another_order_are_put_in_theirs(path: Path) -> None:
    before = query(path, VALUES)
    connection = sqlite3.connect(path)
    with connection:
        rows = connection.execute("SELECT number, data FROM batches ORDER BY number").fetchall()
        for (number, _), (_, data) in zip(rows[:4], reversed(rows[:4]), strict=True):
            connection.execute("UPDATE batches SET data = ? WHERE number = ?", (data, number))
    connection.close()
    run = rebuild(path)
    assert (run.problems, run.missing) == ([], [])
    assert query(path, VALUES) == before


def test_any_flipped_bit_is_repaired_or_named(path: Path) -> None:
    """By a reader's count: each value is as before, or a gap has its number."""
    image, before = path.read_bytes(), query(path, VALUES)
    head = head_path(path).read_bytes()
    chooser = random.Random(4)
    rebuilt = 0
    for _ in range(60):
        data = bytearray(image)
        at = chooser.choice([i for i in range(4096, len(data)) if data[i]])
        data[at] ^= 1 << chooser.randrange(8)
        for file in path.parent.glob("collector.*"):
            file.unlink()
        path.write_bytes(data)
        head_path(path).write_bytes(head)
        try:
            run = rebuild(path)
        except sqlite3.Error:
            assert path.read_bytes() == data  # as it was
            continue
        rebuilt += 1
        gone = {
            (lost.stream, seq) for lost in run.missing for seq in range(lost.first, lost.last + 1)
        }
        found = [row for row in query(path, VALUES) if row[8] != "collector"]
        assert found == [row for row in before if (row[1], row[4]) not in gone], at
        assert audited(path)[0] == []
    assert rebuilt > 50


def test_records_of_version_1_have_no_evidence_and_are_named(tmp_path: Path) -> None:
    old = sqlite3.connect(tmp_path / "collector.db")
    old.executescript(VERSION_1.read_text())
    old.close()
    collector = Collector(tmp_path)
    collector.take(Chain(7).batch(readings(20, 21)), ACCEPTED)
    collector.database.close()
    run = rebuild(collector.path)
    assert (run.records, run.readings) == (2, 4)
    assert (1, 1, 8) in [lost[1:4] for lost in run.missing]
    assert audited(collector.path)[0] == []


def test_without_the_keys_nothing_is_thrown_away(path: Path) -> None:
    image = path.read_bytes()
    with pytest.raises(UnknownGateway, match="batches of gw-1, and no key"):
        rebuild(path, RebuildKeys({"gw-2": KEYS["gw-1"]}, NODES))
    with pytest.raises(sqlite3.DatabaseError, match="no batch in it proves itself"):
        rebuild(path, RebuildKeys({"gw-1": {}}, NODES))
    assert path.read_bytes() == image


def test_it_waits_for_no_collector(path: Path) -> None:
    database = Database(path)
    with pytest.raises(StoreBusy, match="another collector"):
        rebuild(path)
    database.close()


@pytest.mark.parametrize("step", ["to", "make_ready"])
def test_an_error_in_the_middle_leaves_the_old_database(
    path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(path, "DELETE FROM packed_readings WHERE seq = 2")
    before = contents(path)

    def failing(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        where = {"to": Database, "make_ready": rebuild_module}[step]
        patch.setattr(where, {"to": "settle_log"}.get(step, step), failing)
        with pytest.raises(OSError, match="No space"):
            rebuild(path)
    assert contents(path) == before
    rebuild(path)
    assert audited(path)[0] == []


@pytest.mark.parametrize("step", ["retire", "replace"])
def test_an_end_behind_that_is_completed_by_the_next_start(
    path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new database is proved and durable: nothing goes back from here, and no alarm is due."""
    expected = query(path, VALUES)
    change(path, "DELETE FROM packed_readings WHERE seq = 2")

    def failing(*_: object) -> None:
        raise OSError(5, "Input/output error")

    def retired_only(path: Path, label: str) -> None:
        retire(path, label)
        failing()

    retire = store_rebuild._retire
    with monkeypatch.context() as patch:
        patch.setattr(store_rebuild, "_retire", failing if step == "retire" else retired_only)
        with pytest.raises(OSError, match="Input/output"):
            rebuild(path)
    assert path.exists() == (step != "replace")
    opens(path)
    assert query(path, VALUES) == expected
    assert audited(path)[0] == []


def test_kill_9_at_any_moment_leaves_the_old_or_the_new_database(tmp_path: Path) -> None:
    collector = Collector(tmp_path)
    chain = Chain()
    for first in range(1, 1200, 40):
        collector.take(chain.batch(readings(first, first + 39)), ACCEPTED)
    collector.database.close()
    expected = query(collector.path, VALUES)
    change(collector.path, "UPDATE packed_readings SET numbers = '[7,7]' WHERE seq % 3 = 0")
    damaged = query(collector.path, VALUES)
    program = (
        "import sys, pathlib; from tests.unit.gateway_agent.test_collector_rebuild import rebuild;"
        "print('ready', flush=True); rebuild(pathlib.Path(sys.argv[1])); print('done')"
    )
    chooser, done, killed = random.Random(9), False, 0
    began = time.monotonic()
    length = 0.0
    while not done:
        child = subprocess.Popen(
            [sys.executable, "-c", program, str(collector.path)], cwd=ROOT, stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        started = time.monotonic()
        if killed < 8:
            try:
                child.wait(chooser.uniform(0, length or 0.3))
            except subprocess.TimeoutExpired:
                os.kill(child.pid, signal.SIGKILL)
            killed += 1
        done = child.wait(60) == 0
        if done and killed < 8:
            done, length = False, time.monotonic() - started
        child.stdout.close()
        if not collector.path.exists():  # killed between two renames: the next start goes on
            opens(collector.path)
        found = query(collector.path, VALUES)
        assert found in (damaged, expected)
        assert time.monotonic() - began < 100
    assert query(collector.path, VALUES) == expected
    assert audited(collector.path)[0] == []
    opens(collector.path)


def test_the_command(path: Path, public: Path, tmp_path: Path) -> None:
    before = query(path, VALUES)
    change(path, "DELETE FROM packed_readings WHERE seq = 2")
    damaged = path.read_bytes()
    ((status, _, err),) = command("audit", path, "--rebuild")
    assert status == 2
    assert "nothing is proved without them" in err
    ((status, _, err),) = command("audit", path, "--key", public, "--out", tmp_path / "new.db")
    assert status == 2
    new = tmp_path / "new.db"
    ((status, out, err),) = command("audit", path, "--key", public, "--rebuild", "--out", new)
    assert (status, err) == (0, "")
    assert out.startswith("rebuilt: 6 batches, 14 records")
    assert path.read_bytes() == damaged
    assert [row[-1] for row in query(new, VALUES)] == [row[-1] for row in before]
    ((status, _, err),) = command("audit", path, "--key", public, "--rebuild", "--out", new)
    assert status == 1
    assert "exists" in err
    change(path, "UPDATE batches SET data = x'00' WHERE number = 2")
    ((status, out, err),) = command("audit", path, "--key", public, "--rebuild", "--json")
    assert status == 1
    result = json.loads(out)
    assert result["missing"] == [{"gateway": "gw-1", "stream": 1, "first": 4, "last": 7}]
    assert (result["good"], len(result["problems"])) == (False, 1)
    ((status, out, _),) = command("audit", path, "--key", public)
    assert status == 0
    assert "4 records are missing; gaps name them" in out
    ((status, _, err),) = command("verify", path, "--key", public)
    assert "Traceback" not in err
    ((status, _, err),) = command("audit", public, "--key", public, "--rebuild")
    assert status == 1
    assert "put a backup in its place" in err
