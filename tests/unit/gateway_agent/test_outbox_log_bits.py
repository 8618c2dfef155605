"""One flipped bit in the log or the head file: the rest is kept, and what is lost has its range."""

import random
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

from gateway_agent.counters import Counters

from .store_help import contents, gaps, numbers, open_box, records
from .test_outbox_damage import COUNT, MARK, copy_of, fill, flip

LOGGED = 30  # records in the log, in groups of three; those before are in the main file
FRAME = 24 + 4096  # SQLite file format, section 4.1
FIRST_FRAMES = 8 * (32 + 2 * FRAME)  # with the header of the log
SAMPLE = sorted(
    [
        *random.Random(13).sample(range(8 * 32), 16),
        *random.Random(14).sample(range(FIRST_FRAMES), 24),
    ]
)


def logged(directory: Path) -> Path:
    """What a power cut leaves of an outbox, half of whose records are in the log."""
    box = fill(directory / "open")
    box._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    for first in range(COUNT + 1, COUNT + LOGGED + 1, 3):
        box.append(records(first, 3), MARK)
    whole = copy_of(directory / "open", directory / "whole")
    box.close()
    return whole


def check_start(directory: Path, name: str, bits: Iterable[int]) -> None:
    """Flip each of ``bits`` in a copy; every number is there once or in exactly one range."""
    whole = logged(directory)
    for bit in bits:
        copy = copy_of(whole, directory / "flipped")
        flip(copy / name, bit)
        counters = Counters()
        box = open_box(copy, counters=counters)
        pieces = contents(box, 50)
        found, holes = numbers(pieces), gaps(pieces)
        assert found == list(range(1, len(found) + 1)), f"bit {bit}"
        assert len(found) >= COUNT, f"bit {bit}"
        lost = COUNT + LOGGED - len(found)
        wanted = [("db_truncated", len(found) + 1, COUNT + LOGGED)] if lost else []
        assert holes == wanted, f"bit {bit}"
        box.append(records(1000, 1), {})
        box.close()
        box = open_box(copy)
        assert numbers(contents(box, 50)) == [*found, 1000], f"bit {bit}"
        box.close()
        shutil.rmtree(copy)


def test_some_bits_of_the_log(tmp_path: Path) -> None:
    check_start(tmp_path, "outbox.db-wal", SAMPLE)


def test_some_bits_of_the_head_file(tmp_path: Path) -> None:
    check_start(tmp_path, "outbox.head", range(0, 8 * 90, 17))


@pytest.mark.exhaustive
@pytest.mark.timeout(3600)
def test_every_bit_of_the_first_pages_of_the_log(tmp_path: Path) -> None:
    check_start(tmp_path, "outbox.db-wal", range(FIRST_FRAMES))


@pytest.mark.exhaustive
@pytest.mark.timeout(600)
def test_every_bit_of_the_head_file(tmp_path: Path) -> None:
    check_start(tmp_path, "outbox.head", range(8 * 90))
