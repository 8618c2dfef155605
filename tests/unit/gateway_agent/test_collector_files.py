"""Files of nodes at the collector: put together from signed records, named by their SHA-256."""

import hashlib
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway_agent.collector.node_files import NodeFiles
from gateway_agent.collector.receiver import ACCEPTED, DUPLICATE
from protocols.uplink import FilePart, Record, file_record

from .test_collector import UID, Chain, Collector, stamp
from .test_collector_packing import findings, meter
from .test_collector_rebuild import rebuild

VERSION_5 = Path(__file__).with_name("collector_v5.sql")
NODE = "tf-" + UID.hex()
PICTURE = b"\xff\xd8" + random.Random(3).randbytes(20_000) + b"\xff\xd9"
SHA256 = hashlib.sha256(PICTURE).digest()
NAME = SHA256.hex() + ".jpg"
STEP = 8000


def part(offset: int, data: bytes = PICTURE) -> FilePart:
    digest = hashlib.sha256(data).digest()
    return FilePart("picture", 5, 9, digest, len(data), offset, data[offset : offset + STEP])


def parts() -> list[Record]:
    return [
        file_record(NODE, part(offset), stamp(number))
        for number, offset in enumerate(range(0, len(PICTURE), STEP), 1)
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "files"


def test_a_picture_in_two_batches_becomes_a_file(tmp_path: Path, folder: Path) -> None:
    collector, chain, records = Collector(tmp_path), Chain(), parts()
    collector.take(chain.batch(records[:2]), ACCEPTED)
    assert [file.suffix for file in folder.iterdir()] == [".part"]
    last = chain.batch(records[2:])
    collector.take(last, ACCEPTED)
    collector.take(last, DUPLICATE)
    (file,) = folder.iterdir()
    assert (file.name, file.read_bytes()) == (NAME, PICTURE)
    assert file.stat().st_mode & 0o777 == 0o600
    assert collector.rows("SELECT seq, device, name, boot_epoch, number FROM files") == [
        (seq, NODE, NAME, 5, 9) for seq in (1, 2, 3)
    ]
    assert collector.rows("SELECT sum(length), max(size) FROM files") == [(20_004, 20_004)]
    assert collector.rows("SELECT DISTINCT kind FROM records") == [("file",)]
    assert findings(collector.path) == []
    collector.database.close()


def test_a_batch_that_was_not_committed_is_written_again(tmp_path: Path, folder: Path) -> None:
    """The collector was killed after the file was written and before the commit."""
    NodeFiles(folder).keep(part(0))
    collector = Collector(tmp_path)
    collector.take(Chain().batch(parts()), ACCEPTED)
    assert (folder / NAME).read_bytes() == PICTURE
    collector.database.close()


def test_no_order_of_parts_makes_another_file(folder: Path) -> None:
    files = NodeFiles(folder)
    for offset in (16_000, 16_000, 0):
        files.keep(part(offset))
        assert not (folder / NAME).exists()
    files.keep(part(8000))
    assert (folder / NAME).read_bytes() == PICTURE


def test_a_lost_file_is_made_again_from_the_batches(tmp_path: Path, folder: Path) -> None:
    collector = Collector(tmp_path)
    collector.take(Chain().batch(parts()), ACCEPTED)
    collector.database.close()
    (folder / NAME).unlink()
    rebuild(collector.path)
    assert (folder / NAME).read_bytes() == PICTURE
    assert findings(collector.path) == []


def test_a_changed_row_is_found(tmp_path: Path) -> None:
    collector = Collector(tmp_path)
    collector.take(Chain().batch(parts()), ACCEPTED)
    collector.database.close()
    with closing(sqlite3.connect(collector.path)) as connection:
        connection.execute("UPDATE files SET number = 10 WHERE seq = 2")
        connection.commit()
    assert [finding for finding in findings(collector.path) if finding.startswith("files")]


def test_a_database_of_version_5_goes_on(tmp_path: Path) -> None:
    """The dump is of a file that the code of version 5 wrote."""
    with closing(sqlite3.connect(tmp_path / "collector.db")) as old:
        old.executescript(VERSION_5.read_text())
    collector, chain = Collector(tmp_path), Chain()
    chain.last = 3
    ((_, _, _, chain.head),) = collector.database.positions()
    assert findings(collector.path) == []
    collector.take(chain.batch([*parts(), *meter((1, 2, 3, 4), first=9)]), ACCEPTED)
    assert collector.rows("SELECT count(*) FROM files") == [(3,)]
    assert findings(collector.path) == []
    collector.database.close()
