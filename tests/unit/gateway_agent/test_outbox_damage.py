"""The outbox on a medium that forgets, flips and loses: found, quarantined, named, carried on."""

import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway_agent.counters import Counters
from gateway_agent.store import head_file
from gateway_agent.store.errors import StoreDamaged, StoreFull
from gateway_agent.store.mark import Mark
from gateway_agent.store.outbox import Outbox
from protocols.uplink import decode_record

from .store_help import StillClock, contents, gaps, numbers, open_box, records

COUNT = 60
MARK = {"tf-a": Mark(1, 2, 3)}


def fill(directory: Path) -> Outbox:
    """An open outbox with records 1 to COUNT in groups of three."""
    box = open_box(directory)
    for first in range(1, COUNT + 1, 3):
        box.append(records(first, 3), MARK)
    return box


def copy_of(directory: Path, target: Path) -> Path:
    """What a power cut would leave now: the files as they are, while the outbox is open."""
    shutil.copytree(directory, target)
    return target


def flip(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def explained(found: list[int], holes: list[tuple[str, int | None, int | None]]) -> bool:
    """Each number once, and every missing one named by a gap."""
    missing = set(range(1, COUNT + 1)) - set(found)
    named = {
        number
        for _, first, last in holes
        if first is not None and last is not None
        for number in range(first, last + 1)
    }
    return len(set(found)) == len(found) and missing <= named


@pytest.mark.parametrize("seed", range(40))
def test_a_flipped_bit_in_the_database(tmp_path: Path, seed: int) -> None:
    """Whatever the bit: no wrong value comes out, what is lost is named, and it goes on."""
    fill(tmp_path / "a").close()
    path = tmp_path / "a" / "outbox.db"
    where = random.Random(seed).randrange(8 * path.stat().st_size)
    flip(path, where)
    counters = Counters()
    box = open_box(tmp_path / "a", counters=counters)
    pieces = contents(box)
    found, holes = numbers(pieces), gaps(pieces)
    originals = {r.data for r in records(1, COUNT)}
    assert all(piece in originals for piece in pieces if piece not in _gap_pieces(pieces))
    assert found == sorted(found)
    if counters.store_damaged:
        assert {cause for cause, _, _ in holes} <= {"outbox_damaged", "db_truncated"}
        assert holes
        assert list((tmp_path / "a" / "quarantine").iterdir())
        assert explained(found, holes) or holes[-1][1] is None
    else:
        assert found == list(range(1, COUNT + 1))
    assert box.append(records(1000, 1), {}) == len(pieces) + 1
    box.close()
    box = open_box(tmp_path / "a")
    assert numbers(contents(box)) == [*found, 1000]
    box.close()


def _gap_pieces(pieces: list[bytes]) -> list[bytes]:
    return [piece for piece in pieces if gaps([piece])]


@pytest.mark.parametrize("seed", range(25))
def test_a_flipped_bit_in_the_log(tmp_path: Path, seed: int) -> None:
    """SQLite silently drops everything after it; the head file shows that it is missing."""
    box = fill(tmp_path / "a")
    damaged = copy_of(tmp_path / "a", tmp_path / "b")
    box.close()
    log = damaged / "outbox.db-wal"
    flip(log, random.Random(seed).randrange(8 * log.stat().st_size))
    counters = Counters()
    box = open_box(damaged, counters=counters)
    pieces = contents(box)
    found, holes = numbers(pieces), gaps(pieces)
    if found != list(range(1, COUNT + 1)):
        assert counters.store_damaged == 1
        assert {cause for cause, _, _ in holes} <= {"outbox_damaged", "db_truncated"}
        assert explained(found, holes) or holes[-1][1] is None
    box.close()


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.6, 0.95])
def test_a_truncated_log_is_noticed(tmp_path: Path, keep: float) -> None:
    box = fill(tmp_path / "a")
    stream = box.stats().stream
    damaged = copy_of(tmp_path / "a", tmp_path / "b")
    box.close()
    log = damaged / "outbox.db-wal"
    with log.open("r+b") as file:
        file.truncate(int(keep * log.stat().st_size))
    counters = Counters()
    box = open_box(damaged, counters=counters)
    pieces = contents(box)
    found = numbers(pieces)
    assert len(found) < COUNT
    assert found == list(range(1, len(found) + 1))
    cause, first, last = gaps(pieces)[0]
    if keep:
        # What is left of the log still names the stream.
        assert (cause, first, last) == ("db_truncated", len(found) + 1, COUNT)
    assert cause in ("db_truncated", "outbox_damaged")
    assert box.stats().stream >> 32 == (stream >> 32) + 1
    assert counters.store_damaged == counters.streams_opened == 1
    assert counters.gaps == {cause: 1}
    box.close()


def test_a_log_that_is_whole_is_no_damage(tmp_path: Path) -> None:
    box = fill(tmp_path / "a")
    copied = copy_of(tmp_path / "a", tmp_path / "b")
    box.close()
    counters = Counters()
    box = open_box(copied, counters=counters)
    assert numbers(contents(box)) == list(range(1, COUNT + 1))
    assert counters.store_damaged == 0
    assert box.marks() == MARK
    box.close()


@pytest.mark.parametrize(
    ("harm", "cause"),
    [
        (lambda path: path.unlink(), "db_truncated"),
        (lambda path: path.write_bytes(b""), "outbox_damaged"),
        (lambda path: path.write_bytes(b"this is no database" * 1000), "outbox_damaged"),
        (lambda path: path.write_bytes(path.read_bytes()[:4096]), "outbox_damaged"),
    ],
)
def test_a_lost_database(tmp_path: Path, harm: Callable[[Path], object], cause: str) -> None:
    box = fill(tmp_path)
    stream = box.stats().stream
    box.close()
    harm(tmp_path / "outbox.db")
    counters = Counters()
    box = open_box(tmp_path, counters=counters)
    pieces = contents(box)
    assert numbers(pieces) == []
    assert [hole[0] for hole in gaps(pieces)] == [cause]
    assert box.stats().stream >> 32 == (stream >> 32) + 1
    box.append(records(1, 2), {})
    assert numbers(contents(box)) == [1, 2]
    box.close()


def test_good_groups_around_a_damaged_one_survive_in_their_order(tmp_path: Path) -> None:
    fill(tmp_path).close()
    path = tmp_path / "outbox.db"
    data = path.read_bytes()
    wanted = records(31, 1)[0].data  # in the group of 31 to 33
    assert data.count(wanted) == 1
    flip(path, 8 * data.index(wanted) + 400)
    box = open_box(tmp_path)
    pieces = contents(box)
    assert numbers(pieces) == [*range(1, 31), *range(34, COUNT + 1)]
    assert gaps(pieces) == [("outbox_damaged", 31, 33)]
    assert gaps([pieces[30]]), "the gap stands where the records stood"
    assert box.marks() == MARK
    box.close()


def test_a_page_sqlite_cannot_read_costs_what_is_on_it(tmp_path: Path) -> None:
    """A leaf of the table in the middle is garbage: what lies before and behind it is kept."""
    box = open_box(tmp_path)
    for first in range(1, 1201, 3):
        box.append(records(first, 3), {})
    box.close()
    path = tmp_path / "outbox.db"
    data = bytearray(path.read_bytes())
    row = records(601, 1)[0].data
    page = data.index(row) // 4096
    assert data[4096 * page] == 0x0D, "a leaf of a table (SQLite file format, section 1.6)"
    data[4096 * page : 4096 * (page + 1)] = random.Random(1).randbytes(4096)
    path.write_bytes(data)
    counters = Counters()
    box = open_box(tmp_path, counters=counters)
    pieces = contents(box, 500)
    found, ((cause, first_lost, last_lost),) = numbers(pieces), gaps(pieces)
    assert cause == "outbox_damaged"
    assert first_lost is not None
    assert last_lost is not None
    assert first_lost <= 601 <= last_lost < first_lost + 60
    assert found == [*range(1, first_lost), *range(last_lost + 1, 1201)]
    assert counters.records_salvaged == len(found)
    box.close()


def test_damage_found_while_running_is_found_before_anything_is_sent(tmp_path: Path) -> None:
    box = fill(tmp_path)
    box.close()
    box = open_box(tmp_path)
    connection = box._db
    row = connection.execute("SELECT data FROM groups WHERE first = 31").fetchone()[0]
    connection.execute(
        "UPDATE groups SET data = ? WHERE first = 31", (row[:-1] + bytes([row[-1] ^ 1]),)
    )
    good = box.slice(0, 30, 1 << 20)
    assert good is not None
    assert good.last == 30
    with pytest.raises(StoreDamaged, match="group 31: its records do not hash to its head"):
        box.slice(30, 30, 1 << 20)
    box.rebuild("outbox_damaged", "as found")
    pieces = contents(box)
    assert gaps(pieces) == [("outbox_damaged", 31, 33)]
    assert len(numbers(pieces)) == COUNT - 3
    box.close()


def test_a_forged_row_is_not_believed(tmp_path: Path) -> None:
    """A row that was changed without its seal is found."""
    fill(tmp_path).close()
    connection = sqlite3.connect(tmp_path / "outbox.db")
    connection.execute("UPDATE groups SET first = first + 1 WHERE first = 58")
    connection.commit()
    connection.close()
    box = open_box(tmp_path)
    pieces = contents(box)
    assert numbers(pieces) == list(range(1, 58))
    assert gaps(pieces) == [("outbox_damaged", 58, 60)]
    box.close()


@pytest.mark.parametrize("name", ["mark/tf-a", "base"])
def test_damaged_state_is_not_used(tmp_path: Path, name: str) -> None:
    fill(tmp_path).close()
    connection = sqlite3.connect(tmp_path / "outbox.db")
    connection.execute("UPDATE state SET value = zeroblob(length(value)) WHERE name = ?", (name,))
    connection.commit()
    connection.close()
    box = open_box(tmp_path)
    pieces = contents(box)
    assert numbers(pieces) == list(range(1, COUNT + 1))
    assert [hole[0] for hole in gaps(pieces)] == ["outbox_damaged"]
    assert box.marks() == ({} if name != "base" else MARK)
    box.close()


def test_a_missing_head_file_is_written_again(tmp_path: Path) -> None:
    fill(tmp_path).close()
    (tmp_path / "outbox.head").unlink()
    box = open_box(tmp_path)
    assert numbers(contents(box)) == list(range(1, COUNT + 1))
    box.close()
    seen = head_file.read(tmp_path / "outbox.head")
    assert seen is not None
    assert seen.last == COUNT


@pytest.mark.parametrize("seed", range(8))
def test_a_damaged_head_file_costs_nothing(tmp_path: Path, seed: int) -> None:
    fill(tmp_path).close()
    path = tmp_path / "outbox.head"
    flip(path, random.Random(seed).randrange(8 * (path.stat().st_size - 1)))
    counters = Counters()
    box = open_box(tmp_path, counters=counters)
    assert numbers(contents(box)) == list(range(1, COUNT + 1))
    assert counters.store_damaged == 1
    assert counters.streams_opened == 0
    box.close()


def test_an_older_image_of_the_disk_is_noticed_by_its_head_file(tmp_path: Path) -> None:
    box = open_box(tmp_path / "a")
    box.append(records(1, 3), {})
    box.close()
    old = tmp_path / "old"
    shutil.copytree(tmp_path / "a", old)
    box = open_box(tmp_path / "a")
    box.append(records(4, 3), {})
    box.close()
    (tmp_path / "a" / "outbox.db").unlink()
    shutil.copy(old / "outbox.db", tmp_path / "a" / "outbox.db")
    box = open_box(tmp_path / "a")
    pieces = contents(box)
    assert numbers(pieces) == [1, 2, 3]
    assert gaps(pieces) == [("db_truncated", 4, 6)]
    box.close()


class ProcessEndError(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("at", range(1, 5))
def test_an_end_while_repairing_changes_nothing_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """The repair renames files; stopped before each of its renames, the next start finishes it."""
    fill(tmp_path).close()
    path = tmp_path / "outbox.db"
    data = path.read_bytes()
    flip(path, 8 * data.index(records(31, 1)[0].data) + 400)
    count = 0
    rename = Path.replace

    def ending(self: Path, target: Path) -> Path:
        nonlocal count
        count += 1
        if count == at:
            raise ProcessEndError
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", ending)
    with pytest.raises(ProcessEndError):
        open_box(tmp_path)
    monkeypatch.setattr(Path, "replace", rename)
    box = open_box(tmp_path)
    pieces = contents(box)
    assert numbers(pieces) == [*range(1, 31), *range(34, COUNT + 1)]
    assert gaps(pieces) == [("outbox_damaged", 31, 33)]
    box.close()


def test_a_repair_without_room_waits_and_loses_nothing(tmp_path: Path) -> None:
    box = open_box(tmp_path)
    for first in range(1, 8000, 100):
        box.append(records(first, 100), {})
    box.close()
    path = tmp_path / "outbox.db"
    flip(path, 8 * path.read_bytes().index(records(301, 1)[0].data) + 400)
    for _ in range(2):
        with pytest.raises(StoreFull):
            open_box(tmp_path, max_bytes=1)
    box = open_box(tmp_path)
    pieces = contents(box, 500)
    assert numbers(pieces) == [*range(1, 301), *range(401, 8001)]
    assert gaps(pieces) == [("outbox_damaged", 301, 400)]
    box.close()


def test_the_quarantine_keeps_the_newest_sets_only(tmp_path: Path) -> None:
    for _ in range(5):
        box = open_box(tmp_path)
        box.append(records(1, 1), {})
        box.close()
        (tmp_path / "outbox.db").write_bytes(b"no database")
        open_box(tmp_path).close()
    kept = sorted(path.name for path in (tmp_path / "quarantine").iterdir())
    assert kept == ["3-outbox_damaged", "4-outbox_damaged", "5-outbox_damaged"]


def test_records_of_an_earlier_boot_keep_their_boot_through_a_repair(tmp_path: Path) -> None:
    clock = StillClock(boot=7)
    box = open_box(tmp_path, clock)
    box.append(records(1, 3), {})
    box.close()
    box = open_box(tmp_path, StillClock(boot=8))
    box.rebuild("db_truncated", "test")
    piece = box.slice(0, 100, 1 << 20)
    assert piece is not None
    assert piece.last == 3
    assert piece.anchor.boot_id == clock.boot_id
    assert piece.anchor.wall_ms == clock.wall_ms
    box.close()


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        ((31, 33), "group 34 does not follow record 30"),
        ((1, 9), "group 10 does not follow receipted record 0"),
    ],
)
def test_a_group_that_is_gone_is_named(
    tmp_path: Path, missing: tuple[int, int], reason: str
) -> None:
    """Every group left proves itself; only their order shows that one is missing."""
    fill(tmp_path).close()
    connection = sqlite3.connect(tmp_path / "outbox.db")
    connection.execute("DELETE FROM groups WHERE first BETWEEN ? AND ?", missing)
    connection.commit()
    connection.close()
    box = open_box(tmp_path)
    pieces = contents(box)
    assert gaps(pieces) == [("outbox_damaged", *missing)]
    left = {*range(1, COUNT + 1)} - {*range(missing[0], missing[1] + 1)}
    assert numbers(pieces) == sorted(left)
    detail = next(gap.detail for piece in pieces if (gap := decode_record(piece).gap) is not None)
    assert reason in detail
    box.close()
