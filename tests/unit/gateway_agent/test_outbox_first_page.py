"""One flipped bit in the first page of the outbox costs no whole group and no start."""

import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from gateway_agent.counters import Counters
from gateway_agent.store.errors import StoreFailed, StoreFull
from protocols.uplink import decode_record

from .store_help import contents, gaps, numbers, open_box, records
from .test_outbox_damage import COUNT, MARK, copy_of, fill, flip

PAGE = 4096
HEADER_BITS = 8 * 100  # SQLite file format, section 1.3
SAMPLE = sorted(random.Random(11).sample(range(HEADER_BITS, 8 * PAGE), 200))


def check_start(directory: Path, bit: int, count: int, damaged: bool | None = None) -> None:
    """Start on the flipped bit; everything is there, can go on, and is there at the next start."""
    expected = [*range(1, count + 1), 1000, 1001]
    before = (directory / "outbox.db").read_bytes()
    counters = Counters()
    box = open_box(directory, counters=counters)
    pieces = contents(box, 50)
    assert (bit, numbers(pieces)) == (bit, expected[:-2])
    holes = [("outbox_damaged", None, None)] if counters.store_damaged else []
    assert gaps(pieces) == holes, f"bit {bit}: nothing is missing, so no range is named"
    assert damaged in (None, bool(holes)), f"bit {bit}"
    assert box.marks() == MARK, f"bit {bit}"
    if holes and not (directory / "outbox.db-wal").exists():
        kept = directory / "quarantine" / "1-outbox_damaged" / "outbox.db"
        assert kept.read_bytes() == before, f"bit {bit}: the damaged file itself was changed"
    box.append(records(1000, 2), {})
    box.close()
    again = Counters()
    box = open_box(directory, counters=again)
    assert (bit, numbers(contents(box, 50))) == (bit, expected)
    assert not again.store_damaged, f"bit {bit}"
    box.close()
    assert not list(directory.glob("*.copy*"))


@pytest.mark.timeout(180)  # of a slow disk: it is 800 starts
@pytest.mark.parametrize("part", ["header", "tables"])
def test_a_bit_of_the_first_page(tmp_path: Path, part: str) -> None:
    fill(tmp_path / "whole").close()
    for bit in range(HEADER_BITS) if part == "header" else SAMPLE:
        directory = copy_of(tmp_path / "whole", tmp_path / "flipped")
        flip(directory / "outbox.db", bit)
        check_start(directory, bit, COUNT)
        shutil.rmtree(directory)


@pytest.mark.parametrize("first_page", ["logged", "not logged"])
def test_a_bit_of_the_first_page_beside_a_live_log(tmp_path: Path, first_page: str) -> None:
    """The log is read too, whether it holds the first page (then nothing is damaged) or not."""
    box = fill(tmp_path / "open")
    box._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    added = 30 if first_page == "logged" else 1
    box.append(records(COUNT + 1, added), MARK)
    whole = copy_of(tmp_path / "open", tmp_path / "whole")
    box.close()
    assert _is_logged(whole / "outbox.db-wal") == (first_page == "logged")
    for bit in [*range(0, HEADER_BITS, 7), *SAMPLE[::5]]:
        directory = copy_of(whole, tmp_path / "flipped")
        flip(directory / "outbox.db", bit)
        check_start(directory, bit, COUNT + added, False if first_page == "logged" else None)
        shutil.rmtree(directory)


def _is_logged(log: Path) -> bool:
    """Search the log for page 1 (SQLite file format, section 4.1)."""
    data = log.read_bytes()
    starts = range(32, len(data), 24 + PAGE)
    return 1 in [int.from_bytes(data[start : start + 4]) for start in starts]


@pytest.mark.parametrize("content", ["zeros", "noise"])
def test_a_lost_first_page_and_a_lost_group(tmp_path: Path, content: str) -> None:
    """The gap has the range of the group; everything else is kept."""
    fill(tmp_path).close()
    path = tmp_path / "outbox.db"
    data = bytearray(path.read_bytes())
    data[data.index(records(31, 1)[0].data) + 50] ^= 1
    data[:PAGE] = bytes(PAGE) if content == "zeros" else random.Random(3).randbytes(PAGE)
    path.write_bytes(data)
    box = open_box(tmp_path)
    pieces = contents(box)
    assert numbers(pieces) == [*range(1, 31), *range(34, COUNT + 1)]
    assert gaps(pieces) == [("outbox_damaged", 31, 33)]
    assert box.marks() == MARK
    box.close()


def test_without_room_for_the_copy_the_start_waits(tmp_path: Path) -> None:
    box = open_box(tmp_path)
    for first in range(1, 8000, 100):
        box.append(records(first, 100), {})
    box.close()
    flip(tmp_path / "outbox.db", 3)
    before = (tmp_path / "outbox.db").read_bytes()
    for _ in range(2):
        with pytest.raises(StoreFull):
            open_box(tmp_path, max_bytes=1)
        assert (tmp_path / "outbox.db").read_bytes() == before
    box = open_box(tmp_path)
    assert numbers(contents(box, 500)) == list(range(1, 8001))
    box.close()


def test_the_file_of_a_newer_release_is_read_by_its_own_tables(tmp_path: Path) -> None:
    """Its first page is whole, so it is not replaced: its tables have other places than ours."""
    fill(tmp_path).close()
    connection = sqlite3.connect(tmp_path / "outbox.db")
    connection.executescript(
        "ALTER TABLE groups RENAME TO old;"
        "CREATE TABLE groups AS SELECT first, boot_id, prev, head, sizes, seal, data FROM old;"
        "DROP TABLE old; PRAGMA user_version = 2;"
    )
    connection.close()
    box = open_box(tmp_path)
    pieces = contents(box)
    assert numbers(pieces) == list(range(1, COUNT + 1))
    assert gaps(pieces) == [("outbox_damaged", None, None)]
    detail = next(
        gap.detail for gap in (decode_record(piece).gap for piece in pieces) if gap is not None
    )
    assert "expected schema version 1, got 2; a newer release wrote it" in detail
    box.close()


def test_a_file_that_may_not_be_opened_is_no_damage(tmp_path: Path) -> None:
    """What stands in the way of SQLite, not of its content, is left where it is."""
    fill(tmp_path).close()
    (tmp_path / "outbox.db-wal").mkdir()
    with pytest.raises(StoreFailed):
        open_box(tmp_path)
    assert not (tmp_path / "quarantine").exists()


@pytest.mark.exhaustive
@pytest.mark.timeout(3600)
def test_every_bit_of_the_first_page(tmp_path: Path) -> None:
    fill(tmp_path / "whole").close()
    for bit in range(8 * PAGE):
        directory = copy_of(tmp_path / "whole", tmp_path / "flipped")
        flip(directory / "outbox.db", bit)
        check_start(directory, bit, COUNT)
        shutil.rmtree(directory)
