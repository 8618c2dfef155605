"""The audit of a collector's database finds every flipped bit; another reader counts them."""

import hashlib
import json
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway_agent.collector.audit import Audit, prove_tail
from gateway_agent.collector.audit_tables import AuditFinding, check_head_file, open_for_audit
from gateway_agent.collector.errors import DamagedDatabase
from gateway_agent.collector.receiver import ACCEPTED
from gateway_agent.keys import generate_signing_key
from protocols.uplink import GENESIS, Gap, fold, gap_record, key_id
from protocols.wire.hmac import HmacSha256
from tests.paths import ROOT
from tests.unit.gateway_agent.test_collector import (
    ANCHOR,
    GATEWAY_KEY,
    NO_CLOCK,
    NODE_KEY,
    UID,
    Chain,
    Collector,
    node_record,
    readings,
    stamp,
)
from tests.unit.gateway_agent.test_collector_evidence import VERSION_1

KEYS = {"gw-1": {key_id(GATEWAY_KEY.public_key()): GATEWAY_KEY.public_key()}}
NODES = {(UID, 1): HmacSha256(NODE_KEY)}
FLIPS = 300


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with rows in every table, closed; nobody changes it."""
    directory = tmp_path_factory.mktemp("kept")
    collector = Collector(directory)
    chain = Chain()
    collector.take(chain.batch(readings(1, 3, clock=False), NO_CLOCK), ACCEPTED)
    gap = Gap("bus_timeout", 3, 7, 9, "unit 1: no answer within 500 ms")
    nodes = [node_record(1), node_record(2, b"forged" * 6), node_record(3)]
    collector.take(chain.batch([*nodes, gap_record(f"tf-{UID.hex()}", gap, stamp(1))]), ACCEPTED)
    collector.take(chain.batch(readings(4, 5)), ACCEPTED)
    # A batch cut anew, with records that are here already.
    before = [r.data for r in [*readings(1, 3, clock=False), *nodes]]
    before += [gap_record(f"tf-{UID.hex()}", gap, stamp(1)).data]
    overlap = [r.data for r in readings(4, 7)]
    collector.take(chain.build(8, fold(GENESIS, before), overlap), ACCEPTED)
    # Another stream with a record that came before.
    collector.take(Chain(2).batch([*readings(5, 5), *readings(8, 9)]), ACCEPTED)
    # A record that nobody can read.
    broken = [b"\xa1\x00\x00", *(r.data for r in readings(10, 11))]
    collector.take(Chain(3).build(1, GENESIS, broken), ACCEPTED)
    collector.database.close()
    return directory


@pytest.fixture
def path(kept: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    for file in kept.iterdir():
        if file.is_file():
            shutil.copy(file, tmp_path)
    return tmp_path / "collector.db"


def audited(path: Path) -> tuple[list[AuditFinding], Audit | None]:
    """All findings; one that is made up if the file cannot be opened."""
    try:
        connection = open_for_audit(path)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        return [AuditFinding("database", "open", str(error))], None
    try:
        run = Audit(
            connection,
            lambda gateway, kid: KEYS.get(gateway, {}).get(kid),
            lambda uid, number: NODES.get((uid, number)),
        )
        return [*check_head_file(connection, path), *run.run()], run
    finally:
        connection.close()


def contents(path: Path) -> object:
    """Every value of every table: what a reader of the database gets."""
    connection = sqlite3.connect(path)
    connection.text_factory = bytes
    try:
        tables = connection.execute(
            "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') ORDER BY name"
        ).fetchall()
        return {
            name: connection.execute(f"SELECT * FROM {name.decode()} ORDER BY 1, 2").fetchall()  # noqa: S608 # ours
            if name != b"database"
            else connection.execute("SELECT * FROM database").fetchall()
            for (name,) in tables
        }
    finally:
        connection.close()


def test_what_was_received_is_good(path: Path) -> None:
    findings, run = audited(path)
    assert findings == []
    assert run is not None
    assert (run.batches, run.kept, run.signatures) == (6, 6, 6)
    # 3 + 2 nodes + 1 gap + 2 + 2 + 2 + 2; the forged and the unreadable one are refused.
    assert (run.records, run.gaps, run.refused, run.repeated) == (14, 1, 2, 1)
    assert (run.tags, run.untagged, run.unproved) == (2, 0, 0)
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM readings").fetchone() == (run.readings,)
    # The clock was set later: the audit finds by which anchor.
    ((offset,),) = connection.execute("SELECT time_ms - resp_ms FROM records WHERE seq = 1"
                                      " AND stream_id = 1").fetchall()  # fmt: skip
    assert ANCHOR.wall_ms is not None
    assert offset == ANCHOR.wall_ms - ANCHOR.mono_ms
    connection.close()


def test_every_flipped_bit_that_a_reader_could_see_is_found(path: Path) -> None:
    """A reader of all rows decides: if it sees a difference, the audit must find something."""
    whole = path.read_bytes()
    expected = contents(path)
    chooser = random.Random(20)
    changed = 0
    for _ in range(FLIPS):
        data = bytearray(whole)
        # Pages are mostly empty: half of the flips go where bytes are.
        at = chooser.randrange(len(data))
        while not data[at] and chooser.random() < 0.5:
            at = chooser.randrange(len(data))
        bit = 1 << chooser.randrange(8)
        data[at] ^= bit
        path.write_bytes(data)
        try:
            differs = contents(path) != expected
        except (sqlite3.Error, UnicodeDecodeError):
            differs = True
        if differs:
            changed += 1
            findings, _ = audited(path)
            assert findings, f"byte {at}, bit {bit:#x}"
    assert changed > FLIPS / 10
    path.write_bytes(whole)
    assert audited(path)[0] == []


CHANGES = [
    ("readings", "UPDATE packed_readings SET numbers = '[5,2]' WHERE seq = 2 AND stream_id = 1"),
    ("readings", "UPDATE packed_readings SET numbers = '[4, 2]' WHERE seq = 2 AND stream_id = 1"),
    ("readings", "UPDATE packed_readings SET numbers = '[4]' WHERE seq = 2 AND stream_id = 1"),
    ("readings", "UPDATE packed_readings SET numbers = '[4,null]' WHERE seq = 2"),
    ("readings", "UPDATE packed_readings SET numbers = '[[8,1],2]' WHERE seq = 2"),
    ("readings", "UPDATE packed_readings SET numbers = '[4,[2,9999999999]]' WHERE seq = 2"),
    ("readings", "UPDATE packed_readings SET numbers = '[4,2' WHERE seq = 2 AND stream_id = 1"),
    ("readings", "UPDATE packed_readings SET numbers = x'ff' WHERE seq = 2 AND stream_id = 1"),
    ("readings", "UPDATE packed_readings SET shape_id = 77 WHERE seq = 2 AND stream_id = 1"),
    ("readings", "UPDATE packed_readings SET shape_id = 2 WHERE shape_id = 1"),
    ("readings", "DELETE FROM packed_readings WHERE seq = 2 AND stream_id = 1"),
    ("packed_readings", "INSERT INTO packed_readings VALUES (1, 999, 1, '[4,2]')"),
    ("readings", "INSERT INTO packed_readings VALUES (1, 7, 1, '[4,2]')"),
    ("readings", "INSERT INTO single_readings VALUES (1, 2, 1, 4)"),
    ("single_readings", "INSERT INTO single_readings VALUES (1, 999, 1, 5)"),
    ("readings", "INSERT INTO single_readings VALUES (1, 7, 1, 5)"),
    ("readings", "UPDATE shapes SET divisor = 100 WHERE divisor = 10"),
    ("readings", "UPDATE shapes SET divisor = 0 WHERE divisor = 10"),
    ("readings", "UPDATE shapes SET point_id = 3 - point_id WHERE id = 1"),
    ("readings", "DELETE FROM shapes WHERE id = 1 AND position = 1"),
    ("readings", "INSERT INTO shapes VALUES (1, 2, 1, 1)"),
    ("shapes", "INSERT INTO shapes VALUES (99, 0, 1, 1)"),
    ("database", "DROP VIEW measurements"),
    ("database", "DROP VIEW readings"),
    ("readings", "UPDATE points SET unit = 'K' WHERE unit = 'Cel'"),
    ("records", "UPDATE records SET device = 'gw-1.other' WHERE seq = 1 AND stream_id = 1"),
    ("records", "UPDATE records SET time_ms = time_ms + 1 WHERE seq = 1 AND stream_id = 1"),
    ("records", "UPDATE records SET time_ms = NULL WHERE seq = 1 AND stream_id = 1"),
    ("records", "UPDATE records SET auth = 'nodf' WHERE auth = 'node'"),
    ("records", "UPDATE records SET digest = zeroblob(16) WHERE seq = 1 AND stream_id = 1"),
    ("records", "UPDATE records SET sample_seq = 9 WHERE sample_seq = 3"),
    ("records", "DELETE FROM records WHERE seq = 2 AND stream_id = 1"),
    ("failures", "UPDATE failures SET quality = 'fault'"),
    ("gaps", "UPDATE gaps SET last = 8"),
    ("gaps", "DELETE FROM gaps"),
    ("refused", "UPDATE refused SET reason = 'x'"),
    ("refused", "UPDATE refused SET data = x'00'"),
    ("records", "DELETE FROM refused WHERE stream_id = 1"),
    ("points", "INSERT INTO points (device, name, unit) VALUES ('a', 'b', 'c')"),
    ("devices", "UPDATE devices SET gateway = 'gw-2'"),
    ("devices", "DELETE FROM devices"),
    ("counters", "UPDATE counters SET value = value + 1 WHERE name = 'gaps'"),
    ("streams", "UPDATE streams SET contiguous_to = contiguous_to - 1 WHERE stream = 1"),
    ("streams", "UPDATE streams SET gateway = 'gw-2' WHERE stream = 1"),
    ("batches", "UPDATE batches SET data = x'00' WHERE number = 2"),
    ("batches", "DELETE FROM batches WHERE number = 2"),
    ("batches", "UPDATE batches SET chain = zeroblob(32) WHERE number = 3"),
    ("batches", "UPDATE batches SET anchor_ms = 5 WHERE number = 3"),
    ("database", "DROP INDEX records_of_device"),
]  # fmt: skip


@pytest.mark.parametrize(("table", "sql"), CHANGES)
def test_a_change_is_found_and_its_table_named(path: Path, table: str, sql: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        assert connection.execute(sql).rowcount != 0
    connection.close()
    findings, _ = audited(path)
    assert table in {finding.table for finding in findings} or (
        table == "streams" and "batches" in {finding.table for finding in findings}
    ), findings


def test_a_signature_of_another_key_is_found(path: Path) -> None:
    """Who rewrites batch, chain and rows still has no key of the gateway."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    stranger = Ed25519PrivateKey.from_private_bytes(b"x" * 32).public_key()
    connection = open_for_audit(path)
    kid = key_id(GATEWAY_KEY.public_key())
    run = Audit(connection, lambda _, asked: stranger if asked == kid else None)
    findings = list(run.run())
    connection.close()
    assert len([one for one in findings if "signature" in one.message]) == 6


def test_the_tail_is_proved_at_the_start(path: Path) -> None:
    prove_tail(path, KEYS, NODES)
    prove_tail(path, {}, {})  # keys that are out of use are no fault
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE packed_readings SET numbers = '[7,7]' WHERE stream_id = 3")
    connection.close()
    with pytest.raises(DamagedDatabase, match="readings: record 2 of stream 3 of gw-1"):
        prove_tail(path, KEYS, NODES)


def test_the_tail_begins_in_the_middle(path: Path) -> None:
    # The batches have 3, 4, 2, 4, 3 and 3 records.
    for records, batches in ((1, 1), (3, 1), (4, 2), (7, 3), (16, 5), (17, 6), (1000, 6)):
        connection = open_for_audit(path)
        run = Audit(connection)
        assert list(run.run_tail(records)) == []
        assert run.batches == batches
        connection.close()


def test_a_database_of_version_1_says_what_cannot_be_proved(tmp_path: Path) -> None:
    old = sqlite3.connect(tmp_path / "collector.db")
    old.executescript(VERSION_1.read_text())
    old.close()
    collector = Collector(tmp_path)
    collector.take(Chain(7).batch(readings(20, 21)), ACCEPTED)
    collector.database.close()
    findings, run = audited(collector.path)
    assert findings == []
    assert run is not None
    assert (run.batches, run.kept, run.records, run.unproved) == (5, 1, 2, 7)


def command(*words: object) -> Iterator[tuple[int, str, str]]:
    done = subprocess.run(
        [sys.executable, "-c", "from gateway_agent.cli import app; app()", *map(str, words)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    yield done.returncode, done.stdout, done.stderr


@pytest.fixture
def public(tmp_path: Path) -> Path:
    """The gateway's public key in a file."""
    from cryptography.hazmat.primitives import serialization

    made = tmp_path / "gw.pub"
    made.write_bytes(
        GATEWAY_KEY.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return made


def test_the_command(path: Path, public: Path, tmp_path: Path) -> None:
    ((status, out, _),) = command("audit", path, "--key", public)
    assert (status, out.splitlines()[0].partition(":")[0]) == (0, "good")
    assert "2 records of nodes whose key is not named here" in out
    ((status, out, _),) = command("audit", path)
    assert status == 1
    assert out.startswith("NOT VERIFIED")
    ((status, out, _),) = command("audit", path, "--key", public, "--json")
    result = json.loads(out)
    assert (result["good"], result["errors"], result["signatures"]) == (True, 0, 6)
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE packed_readings SET numbers = '[7,7]' WHERE stream_id = 3")
    connection.close()
    ((status, out, err),) = command("audit", path, "--key", public)
    assert status == 1
    assert out.startswith("NOT GOOD")
    assert "readings: record 2 of stream 3 of gw-1" in err
    ((status, _, err),) = command("audit", tmp_path / "gw.pub", "--key", public)
    assert status == 1
    assert "not a database" in err


def test_an_older_copy_is_found_by_the_head_file(path: Path, public: Path) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("DELETE FROM batches WHERE number = 6")
    connection.close()
    ((status, _, err),) = command("audit", path, "--key", public)
    assert status == 1
    assert "it ends at batch 5, and 6 were written" in err


def test_verify_reads_the_batches_of_a_database(path: Path, public: Path) -> None:
    ((status, out, err),) = command("verify", path, "--key", public, "--json")
    result = json.loads(out)
    assert result["batches"] == result["signatures"] == 6, err
    assert status == (0 if result["good"] else 1)


def test_a_collector_does_not_start_on_a_flipped_row(path: Path, tmp_path: Path) -> None:
    generate_signing_key(tmp_path / "c.pem")
    config = tmp_path / "collector.toml"
    config.write_text(
        '[collector]\nkey = "c.pem"\ndatabase = "collector.db"\n[broker]\nhost = "127.0.0.1"\n'
        'port = 9\n[[gateway]]\nid = "gw-1"\nkeys = ["c.pem.pub"]\n'
    )
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE packed_readings SET numbers = '[7,7]' WHERE stream_id = 3")
    connection.close()
    ((status, _, err),) = command("collect", "--config", config)
    assert status == 1
    assert "Traceback" not in err
    assert "what is stored is not what was received" in err
    assert "put a backup in its place" in err
    ((status, _, err),) = command("audit", path, "--config", config)
    assert status == 1


def test_an_audit_that_is_killed_leaves_the_database_as_it_was(path: Path, public: Path) -> None:
    before = hashlib.sha256(path.read_bytes()).digest()
    code = (
        "import threading\nfrom gateway_agent.collector import audit\n"
        "def stay(*_): print('there', flush=True); threading.Event().wait()\n"
        "audit.open_batch = stay\nfrom gateway_agent.cli import app; app()"
    )
    words = [sys.executable, "-c", code, "audit", str(path), "--key", str(public)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"there\n"
        process.kill()
    assert hashlib.sha256(path.read_bytes()).digest() == before
    ((status, out, _),) = command("audit", path, "--key", public)
    assert (status, out.partition(":")[0]) == (0, "good")
