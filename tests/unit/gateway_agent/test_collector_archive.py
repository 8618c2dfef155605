"""The archive beside a collector's database: what it proves, and what happens to it."""

import errno
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from gateway_agent.clock import SystemClock
from gateway_agent.collector.archive import BatchArchive
from gateway_agent.collector.archive_files import archive_path, index_path
from gateway_agent.collector.archive_read import reader_beside
from gateway_agent.collector.audit import Audit
from gateway_agent.collector.audit_tables import open_for_audit
from gateway_agent.collector.receiver import ACCEPTED
from tests.paths import ROOT

from .test_collector import COLLECTOR_KEY, Chain, Collector, readings
from .test_collector_audit import KEYS, NODES
from .test_collector_rebuild import rebuild

BATCHES = 12
SEGMENT_BYTES = 700  # three batches


def archive_of(collector: Collector) -> BatchArchive:
    database = collector.database
    return BatchArchive(
        database._db, collector.path, COLLECTOR_KEY, SystemClock(), segment_bytes=SEGMENT_BYTES
    )


def filled(directory: Path, batches: int = BATCHES) -> Collector:
    collector, chain = Collector(directory), Chain()
    for number in range(batches):
        collector.take(chain.batch(readings(2 * number + 1, 2 * number + 2)), ACCEPTED)
    return collector


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with its archive, closed; nobody changes it."""
    directory = tmp_path_factory.mktemp("archived")
    collector = filled(directory)
    archive = archive_of(collector)
    while archive.advance(now=True):
        pass
    assert archive.problem == ""
    collector.database.close()
    return directory


@pytest.fixture
def path(kept: Path, tmp_path: Path) -> Path:
    shutil.copytree(kept, tmp_path / "copy")
    return tmp_path / "copy" / "collector.db"


def audited(path: Path) -> list[str]:
    """What the audit finds, as text."""
    with closing(open_for_audit(path)) as connection:
        archive = reader_beside(connection, path, COLLECTOR_KEY.public_key())
        run = Audit(
            connection,
            lambda gateway, kid: KEYS.get(gateway, {}).get(kid),
            lambda uid, number: NODES.get((uid, number)),
            archive=archive,
        )
        return [str(finding) for finding in run.run()]


def files(path: Path) -> list[Path]:
    return sorted(path.with_suffix(".archive").glob("*/*/*.batches"))


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def test_all_batches_are_in_files_that_nobody_may_write(path: Path) -> None:
    assert audited(path) == []
    found = files(path)
    assert [file.name for file in found] == [
        f"{first:012}-{first + 2:012}.batches" for first in range(1, BATCHES, 3)
    ]
    assert {file.stat().st_mode & 0o777 for file in found} == {0o400}
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT max(last) FROM archived").fetchone() == (BATCHES,)


TAMPERED: dict[str, tuple[Callable[[Path], None], str]] = {
    "a row is changed": (
        lambda path: change(path, "UPDATE packed_readings SET numbers = '[999]' WHERE seq = 5"),
        "readings: record 5 of stream 1 of gw-1: expected",
    ),
    "a row is deleted": (
        lambda path: change(path, "DELETE FROM packed_readings WHERE seq = 6"),
        "readings: record 6 of stream 1 of gw-1",
    ),
    "a row is added": (
        lambda path: change(
            path, "INSERT INTO packed_readings SELECT stream_id, 99, shape_id, numbers"
            " FROM packed_readings WHERE seq = 6",
        ),
        "packed_readings: (stream id, record) [(1, 99)]",
    ),
    "the newest batches are gone with all their rows, as if they had never come": (
        lambda path: change(
            path,
            "DELETE FROM batches WHERE number > 10",
            "DELETE FROM packed_readings WHERE seq > 20",
            "DELETE FROM records WHERE seq > 20",
            "UPDATE streams SET contiguous_to = 20, head = (SELECT head FROM batches"
            " WHERE number = 10)",
            "DELETE FROM archived WHERE last > 10",
        ),
        "records: record 24 of stream 1 of gw-1: is missing",
    ),
    "the bytes of a batch are others": (
        lambda path: change(path, "UPDATE batches SET data = x'00' WHERE number = 7"),
        "batches: batch 7: is not the one that was archived",
    ),
    "a file is gone": (
        lambda path: files(path)[1].unlink(),
        "000000000004-000000000006.batches: batches 4 to 6: [Errno 2]",
    ),
    "a file is changed": (
        lambda path: rewrite(files(path)[2], 40),
        "000000000007-000000000009.batches: batches 7 to 9: is not what was written",
    ),
    "a line of the index is changed": (
        lambda path: rewrite(index_of(path), 60),
        "archive: index:",
    ),
    "a line of the index is gone": (
        lambda path: cut_line(path, 2),
        "archive: index:",
    ),
    "the last line of the index is gone": (
        lambda path: cut_line(path, -1),
        "archived: batches from 10 on: the index has None",
    ),
    "the whole archive is gone": (
        lambda path: shutil.rmtree(path.with_suffix(".archive")),
        "archived: batches from 1 on: the index has None",
    ),
}  # fmt: skip


def index_of(path: Path) -> Path:
    (index,) = path.with_suffix(".archive").glob("*/index")
    return index


def rewrite(file: Path, at: int) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.chmod(0o600)
    file.write_bytes(data)


def cut_line(path: Path, which: int) -> None:
    lines = index_of(path).read_bytes().splitlines(keepends=True)
    del lines[which]
    index_of(path).write_bytes(b"".join(lines))


@pytest.mark.parametrize("what", TAMPERED)
def test_what_was_tampered_with_is_named(path: Path, what: str) -> None:
    tamper, expected = TAMPERED[what]
    tamper(path)
    assert [text for text in audited(path) if expected in text], audited(path)


def test_a_line_that_another_key_signed_is_found(path: Path, kept: Path) -> None:
    with closing(open_for_audit(path)) as connection:
        stranger = next(iter(KEYS["gw-1"].values()))
        archive = reader_beside(connection, path, stranger)
        assert archive is not None
        assert "is not what the collector signed" in str(archive.problems[0])


def test_a_damaged_database_is_made_anew_from_the_archive(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        before = connection.execute("SELECT * FROM measurements ORDER BY seq").fetchall()
    change(
        path,
        "UPDATE batches SET data = x'00' WHERE number IN (3, 4)",
        "DELETE FROM batches WHERE number > 6",
        "DELETE FROM packed_readings",
    )
    run = rebuild(path)
    assert (run.missing, run.batches) == ([], BATCHES)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT * FROM measurements ORDER BY seq").fetchall() == before


def test_a_segment_waits_for_an_hour_or_for_its_size(tmp_path: Path) -> None:
    collector = filled(tmp_path, 1)
    archive = collector.database.archive(COLLECTOR_KEY)
    assert archive.advance() is False
    assert archive.last == 1  # what a start finds does not wait
    chain = Chain(2)
    collector.take(chain.batch(readings(30, 31)), ACCEPTED)
    archive.advance()
    assert archive.last == 1
    archive.advance(now=True)
    assert archive.last == 2
    collector.database.close()


def test_a_full_disk_stops_the_archive_and_nothing_else(tmp_path: Path) -> None:
    collector = filled(tmp_path)
    archive = archive_of(collector)
    assert archive.advance(now=True)
    archive.path.chmod(0o500)
    if os.access(archive.path, os.W_OK):  # root may write everywhere: a file in the way will do
        day = files(collector.path)[0].parent
        day.rename(day.with_suffix(".aside"))
        day.write_bytes(b"")
    assert not archive.advance(now=True)
    assert "nothing is archived" in archive.problem
    chain = Chain(2)
    collector.take(chain.batch(readings(30, 31)), ACCEPTED)
    archive.path.chmod(0o700)
    if aside := list(archive.path.glob("*.aside")):
        aside[0].with_suffix("").unlink()
        aside[0].rename(aside[0].with_suffix(""))
    while archive.advance(now=True):
        pass
    assert (archive.problem, archive.last) == ("", BATCHES + 1)
    collector.database.close()
    assert audited(collector.path) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_an_error_at_any_step_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Each call that makes something durable fails once; what waits is archived afterwards."""
    collector = filled(tmp_path)
    archive = archive_of(collector)
    calls = {"fsync": os.fsync, "replace": os.replace, "open": os.open}
    left = 0

    def failing(name: str) -> Callable[..., object]:
        def call(*arguments: object, **named: object) -> object:
            nonlocal left
            left -= 1
            if left == 0:
                raise OSError(code, os.strerror(code))
            return calls[name](*arguments, **named)  # type: ignore[operator] # one of three

        return call

    for name in calls:
        monkeypatch.setattr(os, name, failing(name))
    failures, number = 0, 1
    while archive.last < BATCHES:
        left = number
        archive.advance(now=True)
        failures += bool(archive.problem)
        number = number + 1 if archive.problem else 1
        assert number < 50
    monkeypatch.undo()
    assert failures >= 3 * BATCHES // 3
    collector.database.close()
    assert audited(collector.path) == []
    collector = Collector(tmp_path)
    again = archive_of(collector)
    assert not again.advance(now=True)
    assert (again.problem, again.last) == ("", BATCHES)
    collector.database.close()


def test_a_database_with_another_archive_goes_on_and_reports_it(path: Path) -> None:
    cut_line(path, -1)
    collector = Collector(path.parent)
    archive = archive_of(collector)
    assert not archive.advance(now=True)
    assert "its index belongs to another database" in archive.problem
    collector.database.close()


CHILD = """
import sys
from pathlib import Path
from tests.unit.gateway_agent.test_collector_archive import archive_of, filled
collector = filled(Path(sys.argv[1]), 36)
archive = archive_of(collector)
print("ready", flush=True)
while archive.advance(now=True):
    print(archive.last, flush=True)
"""


def test_a_kill_at_any_time_leaves_an_archive_that_goes_on(tmp_path: Path) -> None:
    """Two kills, each at another segment; what was reported before is there afterwards."""
    for number, segments in enumerate((2, 7)):
        place = tmp_path / str(number)
        with subprocess.Popen(
            [sys.executable, "-c", CHILD, str(place)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        ) as child:
            assert child.stdout is not None
            lines = [child.stdout.readline() for _ in range(segments + 1)]
            child.send_signal(signal.SIGKILL)
        collector = Collector(place)
        archive = archive_of(collector)
        assert archive.last >= int(lines[-1])
        while archive.advance(now=True):
            pass
        assert (archive.last, archive.problem) == (36, "")
        collector.database.close()
        assert audited(collector.path) == []


@pytest.mark.parametrize("cut", ["file", "line", "half a line", "row"])
def test_every_step_of_a_segment_may_be_the_last(path: Path, cut: str) -> None:
    """What a kill between two steps leaves, made by hand: each is mended by the next start."""
    index = index_of(path)
    lines = index.read_bytes().splitlines(keepends=True)
    if cut == "row":
        change(path, "DELETE FROM archived WHERE last > 9")
    else:
        change(path, "DELETE FROM archived WHERE last > 9")
        end = lines[-1][:70] if cut == "half a line" else b""
        index.write_bytes(b"".join(lines[:-1]) + end)
        if cut == "file":
            files(path)[-1].rename(files(path)[-1].with_suffix(".tmp"))
    collector = Collector(path.parent)
    archive = archive_of(collector)
    archive.advance(now=True)
    assert (archive.last, archive.problem) == (BATCHES, "")
    collector.database.close()
    assert audited(path) == []
    assert len(list(index_path(archive_path(path, archive._identity)).parent.glob("*/*"))) == 4
