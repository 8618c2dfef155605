"""The outbox's thread: group commit, a full medium, a failed one, and its end."""

import asyncio
import logging
import shutil
import sqlite3
import sys
from pathlib import Path

import pytest

from gateway_agent.counters import Counters
from gateway_agent.store.errors import StoreDamaged, StoreFailed, StoreFull
from gateway_agent.store.mark import Mark
from gateway_agent.store.outbox import Outbox
from gateway_agent.store.writer import OutboxWriter
from protocols.uplink import Record, decode_record

from .mounts import run_mounted
from .store_help import StillClock, contents, gaps, numbers, open_box, records


def make(directory: Path, max_bytes: int = 1 << 30) -> tuple[OutboxWriter, Outbox, Counters]:
    clock, counters = StillClock(), Counters()
    box = open_box(directory, clock, counters, max_bytes)
    return OutboxWriter(box), box, counters


async def until(condition: "object", seconds: float = 20.0) -> None:
    """Wait until ``condition()`` holds."""
    assert callable(condition)
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


async def test_many_callers_share_a_commit(tmp_path: Path) -> None:
    writer, _, counters = make(tmp_path)
    writer.start()
    await asyncio.gather(*(writer.put(records(n, 1), {}) for n in range(1, 201)))
    assert writer.stats.last == 200
    assert writer.committed.is_set()
    await writer.close()
    assert counters.records_recorded == 200
    assert counters.readings_recorded == 400
    assert counters.commits <= 20
    box = open_box(tmp_path)
    assert sorted(numbers(contents(box, 50))) == list(range(1, 201))
    box.close()


async def test_a_put_is_durable_before_it_returns(tmp_path: Path) -> None:
    writer, _, _ = make(tmp_path / "a")
    writer.start()
    await writer.put(records(1, 3), {"tf-a": Mark(1, 1, 1)})
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    await writer.close()
    box = open_box(tmp_path / "b")
    assert numbers(contents(box)) == [1, 2, 3]
    assert box.marks() == {"tf-a": Mark(1, 1, 1)}
    box.close()


async def test_when_full_callers_wait_and_nothing_they_brought_is_lost(tmp_path: Path) -> None:
    writer, _, counters = make(tmp_path, max_bytes=64 * 4096)
    writer.start()
    last = 0

    async def fill() -> None:
        nonlocal last
        while True:
            await writer.put(records(last + 1, 50), {})
            last += 50

    filling = asyncio.create_task(fill())
    await until(lambda: writer.full_reason)
    assert "full" in writer.full_reason
    held = last
    assert writer.stats.last == held
    piece = await writer.slice(0, 10_000, 1 << 20)
    assert piece is not None
    await writer.release(piece.stream, piece.last, piece.head)
    await until(lambda: last > held)
    filling.cancel()
    assert not writer.full_reason
    await asyncio.gather(filling, return_exceptions=True)
    await writer.close()
    assert counters.store_full >= 1
    assert counters.gaps["outbox_full"] == counters.store_full
    box = open_box(tmp_path, max_bytes=1 << 20)
    pieces = contents(box, 500)
    found = numbers(pieces)
    assert found == list(range(found[0], found[-1] + 1))
    assert ("outbox_full", None, None) in gaps(pieces)
    decoded = [decode_record(piece) for piece in pieces]
    index = next(i for i, record in enumerate(decoded) if record.gap is not None)
    gap = decoded[index].gap
    assert gap is not None
    assert gap.detail.startswith("no space for 0.0 s; the 50 records before this one waited, none")
    assert "database or disk is full" in gap.detail
    box.close()


async def test_closing_while_full_ends_every_wait(tmp_path: Path) -> None:
    writer, _, _ = make(tmp_path, max_bytes=1)
    writer.start()
    waiting = asyncio.create_task(writer.put(records(1, 5000), {}))
    await until(lambda: writer.full_reason)
    await writer.close()
    with pytest.raises(StoreFull):
        await waiting
    with pytest.raises(StoreFailed, match="closed"):
        await writer.put(records(1, 1), {})
    with pytest.raises(StoreFailed, match="closed"):
        await writer.slice(0, 1, 1)


async def test_a_failed_commit_ends_every_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(self: Outbox, some: list[Record], marks: dict[str, Mark]) -> int:
        self.failed = True
        raise StoreFailed("fsync failed")

    caplog.set_level(logging.CRITICAL)
    writer, _, _ = make(tmp_path)
    writer.start()
    watch = asyncio.create_task(writer.watch())
    await writer.put(records(1, 1), {})
    monkeypatch.setattr(Outbox, "append", broken)
    with pytest.raises(StoreFailed, match="fsync failed"):
        await writer.put(records(2, 1), {})
    with pytest.raises(StoreFailed, match="fsync failed"):
        await watch
    with pytest.raises(StoreFailed, match="fsync failed"):
        await writer.put(records(3, 1), {})
    with pytest.raises(StoreFailed, match="fsync failed"):
        await writer.slice(0, 1, 1)
    await writer.close()
    assert "nothing more is acknowledged by this process" in caplog.text


async def test_damage_is_repaired_without_help(tmp_path: Path) -> None:
    writer, box, counters = make(tmp_path)
    writer.start()
    await writer.put(records(1, 3), {})
    await writer.put(records(4, 3), {})
    stream = writer.stats.stream
    await writer._call(
        lambda: box._db.execute("UPDATE groups SET data = zeroblob(9) WHERE first = 1")
    )
    piece = await writer.slice(0, 100, 1 << 20)
    assert piece is not None
    assert piece.stream == writer.stats.stream != stream
    assert counters.store_damaged == 1
    pieces = [record.data for record in piece.records]
    assert numbers(pieces) == [4, 5, 6]
    assert gaps(pieces) == [("outbox_damaged", 1, 3)]
    await writer.close()


async def test_an_unknown_error_in_the_thread_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(self: Outbox, *_: object) -> None:
        raise StoreDamaged("again and again")

    writer, _, _ = make(tmp_path)
    writer.start()
    monkeypatch.setattr(Outbox, "append", odd)
    with pytest.raises(StoreFailed, match="again and again"):
        await writer.put(records(1, 1), {})
    await writer.close()


async def test_the_head_file_follows_within_its_time(tmp_path: Path) -> None:
    writer = OutboxWriter(open_box(tmp_path / "a", head_lag_ms=10_000))
    writer.start()
    await writer.put(records(1, 3), {})
    await until(lambda: " 3 " in (tmp_path / "a" / "outbox.head").read_text())
    await writer.close()


def test_a_medium_that_is_really_full(tmp_path: Path) -> None:
    """A small file system of its own, filled up by someone else while the agent writes."""
    child = Path(__file__).with_name("full_disk_child.py")
    mount = f"mount -t tmpfs -o size=8m tmpfs '{tmp_path}'"
    done = run_mounted(mount, sys.executable, child, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split()[-1] == "good"


def test_sqlite_says_what_the_writer_expects() -> None:
    """The error codes this rests on are SQLite's own, not our reading of them."""
    connection = sqlite3.connect(":memory:")
    connection.execute("PRAGMA max_page_count = 2").fetchone()
    with pytest.raises(sqlite3.OperationalError) as full:
        connection.executescript("CREATE TABLE t (b); INSERT INTO t VALUES (zeroblob(100000))")
    assert full.value.sqlite_errorcode == sqlite3.SQLITE_FULL == 13
    connection.close()
