"""The outbox on a good medium: chain, marks, slices, receipts, size limit."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gateway_agent.counters import Counters
from gateway_agent.store import database
from gateway_agent.store.errors import ReceiptRefused, StoreBusy, StoreFailed, StoreFull
from gateway_agent.store.mark import Mark
from gateway_agent.store.state import marks_of
from protocols.uplink import Receipt
from tests.paths import ROOT

from .store_help import (
    GATEWAY,
    WALL_MS,
    StillClock,
    chain,
    contents,
    numbers,
    open_box,
    record,
    records,
)


def test_the_chain_is_sha256_over_the_records_as_stored(tmp_path: Path) -> None:
    some = records(1, 5)
    box = open_box(tmp_path)
    assert box.append(some[:2], {}) == 2
    assert box.append(some[2:], {}) == 5
    piece = box.slice(0, 100, 1 << 20)
    assert piece is not None
    assert (piece.first, piece.last, piece.prev) == (1, 5, bytes(32))
    assert piece.head == chain(bytes(32), [r.data for r in some])
    assert list(piece.records) == some
    assert sum(record.readings for record in piece.records) == 10
    box.close()


def test_a_commit_is_wal_and_full(tmp_path: Path) -> None:
    connection = database.connect(tmp_path / "x.db", 1 << 20)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    connection.close()


def test_a_medium_without_wal_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreFailed, match="expected journal_mode wal and synchronous 2, got memor"):
        database.connect(Path(":memory:"), 1 << 20)


def test_numbers_go_on_after_everything_was_receipted(tmp_path: Path) -> None:
    box = open_box(tmp_path)
    box.append(records(1, 3), {})
    piece = box.slice(0, 9, 1 << 20)
    assert piece is not None
    assert box.release(piece.stream, 3, piece.head) == (3, 6)
    box.close()
    box = open_box(tmp_path)
    assert box.append(records(4, 1), {}) == 4
    after = box.slice(0, 9, 1 << 20)
    assert after is not None
    assert (after.first, after.prev, after.stream) == (4, piece.head, piece.stream)
    box.close()


def test_marks_come_back(tmp_path: Path) -> None:
    box = open_box(tmp_path)
    box.append(records(1, 1), {"tf-a": Mark(1, 2, 3), "tf-b": Mark(2**32 - 1, 2**32 - 1, 0)})
    box.append(records(2, 1), {"tf-a": Mark(1, 3, 3)})
    box.append([], {"tf-c": Mark(9, 9, 9, 65535)})
    box.close()
    box = open_box(tmp_path)
    assert box.marks() == {
        "tf-a": Mark(1, 3, 3),
        "tf-b": Mark(2**32 - 1, 2**32 - 1, 0),
        "tf-c": Mark(9, 9, 9, 65535),
    }
    box.close()


def test_a_mark_from_before_marks_had_a_key() -> None:
    value = b"".join(number.to_bytes(8, "little") for number in (5, 70_000, 3))
    assert marks_of({"mark/tf-a": value}) == {"tf-a": Mark(5, 70_000, 3, 0)}


@pytest.mark.parametrize("step", [1, 2, 3, 7, 100])
def test_slices_of_any_size_give_the_same_chain(tmp_path: Path, step: int) -> None:
    box = open_box(tmp_path)
    for first, count in ((1, 1), (2, 5), (7, 2), (9, 4)):
        box.append(records(first, count), {})
    assert numbers(contents(box, step)) == list(range(1, 13))
    box.close()


def test_a_slice_has_at_least_one_record_and_at_most_its_bytes(tmp_path: Path) -> None:
    box = open_box(tmp_path)
    some = records(1, 4)
    box.append(some, {})
    one = box.slice(0, 100, 1)
    two = box.slice(1, 100, len(some[1].data) + len(some[2].data))
    assert one is not None
    assert two is not None
    assert (one.first, one.last) == (1, 1)
    assert (two.first, two.last) == (2, 3)
    assert box.slice(4, 100, 1 << 20) is None
    box.close()


def test_a_slice_never_spans_boots_and_carries_the_anchor_of_its_own(tmp_path: Path) -> None:
    clock = StillClock(boot=1)
    clock.now = 50_000
    box = open_box(tmp_path, clock)
    box.append(records(1, 3), {})
    box.close()
    later = StillClock(boot=2, wall_ms=None)
    box = open_box(tmp_path, later)
    box.append(records(4, 2), {})
    old = box.slice(0, 100, 1 << 20)
    new = box.slice(3, 100, 1 << 20)
    assert old is not None
    assert new is not None
    assert (old.first, old.last, old.anchor.boot_id) == (1, 3, clock.boot_id)
    assert (old.anchor.mono_ms, old.anchor.wall_ms) == (50_000, WALL_MS)
    assert (new.first, new.last, new.anchor.boot_id) == (4, 5, later.boot_id)
    assert (new.anchor.wall_ms, new.anchor.clock_state) == (None, 0)
    box.close()


@pytest.mark.parametrize("to", range(1, 9))
def test_a_receipt_may_end_anywhere(tmp_path: Path, to: int) -> None:
    counters = Counters()
    box = open_box(tmp_path, counters=counters)
    some = records(1, 8)
    box.append(some[:3], {})
    box.append(some[3:4], {})
    box.append(some[4:], {})
    head = chain(bytes(32), [r.data for r in some[:to]])
    receipt = Receipt(GATEWAY, box.stats().stream, to, head, WALL_MS)
    assert box.apply_receipt(receipt) == (to, 2 * to)
    assert box.apply_receipt(receipt) == (0, 0)
    assert (counters.records_delivered, counters.readings_delivered) == (to, 2 * to)
    assert numbers(contents(box)) == list(range(to + 1, 9))
    box.close()
    box = open_box(tmp_path)
    assert numbers(contents(box)) == list(range(to + 1, 9))
    assert box.stats().receipted_to == to
    box.close()


def test_receipts_that_do_not_fit_prune_nothing(tmp_path: Path) -> None:
    counters = Counters()
    box = open_box(tmp_path, counters=counters)
    box.append(records(1, 4), {})
    stream = box.stats().stream
    with pytest.raises(ReceiptRefused, match="collector's head at record 3") as refused:
        box.release(stream, 3, bytes(32))
    assert not refused.value.ahead
    with pytest.raises(ReceiptRefused, match=r"has records to 5 of stream .* ends at 4") as refused:
        box.release(stream, 5, bytes(32))
    assert refused.value.ahead
    assert box.release(stream + 1, 4, bytes(32)) == (0, 0)
    assert counters.records_delivered == 0
    assert numbers(contents(box)) == [1, 2, 3, 4]
    box.close()


def test_after_a_refused_receipt_everything_is_in_a_new_stream(tmp_path: Path) -> None:
    box = open_box(tmp_path)
    box.append(records(1, 4), {"tf-a": Mark(1, 2, 3)})
    before = box.stats().stream
    box.rebuild("db_truncated", "the collector has more")
    after = box.stats().stream
    assert after >> 32 == (before >> 32) + 1
    assert numbers(contents(box)) == [1, 2, 3, 4]
    assert box.marks() == {"tf-a": Mark(1, 2, 3)}
    assert not (tmp_path / "quarantine").exists()
    box.close()


def test_one_directory_one_agent(tmp_path: Path) -> None:
    box = open_box(tmp_path)
    with pytest.raises(StoreBusy, match="in use by another agent"):
        open_box(tmp_path)
    box.close()
    open_box(tmp_path).close()


def test_files_are_the_owners_alone(tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        state = tmp_path / "state"
        box = open_box(state)
        box.append(records(1, 1), {})
        assert stat.S_IMODE(state.stat().st_mode) == 0o700
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in state.iterdir()}
        assert set(modes.values()) == {0o600}, modes
        assert {"outbox.db", "outbox.db-wal", "outbox.head"} <= modes.keys()
        box.close()
    finally:
        os.umask(mask)


@pytest.mark.parametrize("made", ["nothing", "file", "tables"])
def test_an_end_while_the_files_are_made_is_no_damage(tmp_path: Path, made: str) -> None:
    if made == "file":
        (tmp_path / "outbox.db").touch()
    if made == "tables":
        database.connect(tmp_path / "outbox.db", 1 << 20).close()
    counters = Counters()
    box = open_box(tmp_path, counters=counters)
    assert box.append(records(1, 1), {}) == 1
    assert counters.store_damaged == 0
    box.close()


def test_full_by_size_limit_then_room_again(tmp_path: Path) -> None:
    limit = 64 * 4096
    box = open_box(tmp_path, max_bytes=limit)
    kept = 0

    def fill() -> None:
        nonlocal kept
        while True:
            kept = box.append(records(kept + 1, 50), {})

    with pytest.raises(StoreFull, match="database or disk is full"):
        fill()
    assert kept > 100
    assert (tmp_path / "outbox.db").stat().st_size <= limit
    assert numbers(contents(box, 500)) == list(range(1, kept + 1))
    half = box.slice(0, kept // 2, 1 << 20)
    assert half is not None
    box.release(half.stream, half.last, half.head)
    box.append(records(kept + 1, 50), {})
    assert numbers(contents(box, 500)) == list(range(half.last + 1, kept + 51))
    box.close()


class Failing(sqlite3.Connection):
    """A connection whose commits fail while ``code`` is an SQLite error code."""

    code = 0

    def execute(self, sql: str, *arguments: object) -> sqlite3.Cursor:
        if self.code and sql == "COMMIT":
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = self.code
            raise error
        return super().execute(sql, *arguments)  # type: ignore[arg-type] # as called


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> type[Failing]:
    """The class of all connections that are made from now on."""
    connect = sqlite3.connect
    monkeypatch.setattr(
        sqlite3, "connect", lambda *args, **named: connect(*args, factory=Failing, **named)
    )
    return Failing


def test_after_a_failed_commit_nothing_is_taken_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: type[Failing]
) -> None:
    counters = Counters()
    box = open_box(tmp_path, counters=counters)
    box.append(records(1, 2), {})
    monkeypatch.setattr(failing, "code", sqlite3.SQLITE_IOERR_FSYNC)
    with pytest.raises(StoreFailed, match="disk I/O error"):
        box.append(records(3, 2), {})
    monkeypatch.setattr(failing, "code", 0)
    with pytest.raises(StoreFailed, match="may not write again"):
        box.append(records(3, 2), {})
    box.close()
    assert counters.records_recorded == 2
    box = open_box(tmp_path)
    assert numbers(contents(box)) == [1, 2]
    box.close()


def test_a_prune_that_finds_no_room_forgets_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: type[Failing]
) -> None:
    """Records of an earlier boot that could not be pruned keep the clock anchor of that boot."""
    box = open_box(tmp_path, StillClock(boot=1))
    box.append(records(1, 3), {})
    box.close()
    box = open_box(tmp_path, StillClock(boot=2))
    box.append(records(4, 2), {})
    before = box.slice(0, 3, 1 << 20)
    assert before is not None
    monkeypatch.setattr(failing, "code", sqlite3.SQLITE_FULL)
    with pytest.raises(StoreFull):
        box.release(before.stream, 3, before.head)
    monkeypatch.setattr(failing, "code", 0)
    assert box.stats().receipted_to == 0
    assert box.slice(0, 3, 1 << 20) == before
    assert before.anchor.wall_ms == WALL_MS
    assert box.release(before.stream, 3, before.head) == (3, 6)
    box.close()


def test_a_write_the_kernel_refuses_ends_the_process_not_the_data(tmp_path: Path) -> None:
    """RLIMIT_FSIZE: the kernel refuses a write in the middle of a commit (EFBIG), really."""
    script = """
import resource, sys
from pathlib import Path
from gateway_agent.store.errors import StoreFailed
from tests.unit.gateway_agent.store_help import open_box, records
box = open_box(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
acked = 0
try:
    while True:
        acked = box.append(records(acked + 1, 100), {})
except StoreFailed:
    print(acked)
    sys.exit(74)
"""
    done = run_script(script, tmp_path)
    assert done.returncode == 74, done.stderr
    acked = int(done.stdout)
    assert acked >= 100
    box = open_box(tmp_path)
    found = numbers(contents(box, 500))
    assert found[:acked] == list(range(1, acked + 1))
    assert found == list(range(1, len(found) + 1))
    box.close()


def run_script(script: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


KILLED = """
import sys
from pathlib import Path
from tests.unit.gateway_agent.store_help import open_box, records
box = open_box(Path(sys.argv[1]))
last = box.stats().last
while True:
    last = box.append(records(last + 1, 3), {})
    print(last, flush=True)
"""


def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    acked = 0
    for rounds in (1, 7, 40):
        with subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE
        ) as child:
            assert child.stdout is not None
            for _ in range(rounds):
                acked = int(child.stdout.readline())
            child.send_signal(signal.SIGKILL)
            rest = child.stdout.read().split()
            acked = int(rest[-1]) if rest else acked
        counters = Counters()
        box = open_box(tmp_path, counters=counters)
        found = numbers(contents(box, 500))
        assert found == list(range(1, len(found) + 1))
        assert acked <= len(found) <= acked + 3
        assert counters.store_damaged == 0
        box.close()


def test_large_appends_are_split_and_whole(tmp_path: Path) -> None:
    box = open_box(tmp_path)
    box.append([record(number, 1) for number in range(1, 2502)], {})
    assert numbers(contents(box, 400)) == list(range(1, 2502))
    box.close()
