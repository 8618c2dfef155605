"""What a collector's history costs: the audit of its rows, a day out of it, and the archive."""

import random
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway_agent.collector.archive_read import reader_beside
from gateway_agent.collector.audit import Audit
from gateway_agent.collector.audit_tables import open_for_audit
from gateway_agent.collector.database import Database, open_readonly
from gateway_agent.collector.readings import ReadingsReader
from gateway_agent.collector.receiver import ACCEPTED, BatchReceiver
from protocols.uplink import (
    CLOCK_SYNCHRONISED,
    GENESIS,
    Anchor,
    ProfileTemplate,
    Stamp,
    build_batch,
    fold,
    key_id,
)

from .report import Figures

DAYS: Final = 10
READINGS: Final = 2_000_000  # that are received, archived and audited
LARGE: Final = 100_000_000  # that are queried
SMALL: Final = 200_000  # of which those are made
RECORDS_A_DAY: Final = 10_000  # of each device, of 100 readings each: one in 8.6 s
DEVICES: Final = 20
BATCH_RECORDS: Final = 500
_DAY_MS: Final = 86_400_000
_WALL_MS: Final = 1_764_000_000_000
_BOOT: Final = b"b" * 16
_KEY: Final = Ed25519PrivateKey.from_private_bytes(b"h" * 32)


class HistoryFigures(NamedTuple):
    """Seconds and sizes of one database; ``rows`` are its readings, one each in the views."""

    rows: int
    audit_s: float
    bytes_per_reading: float
    archive_bytes_per_reading: float


def batches(readings: int, points: int, days: float) -> Iterator[bytes]:
    """Yield batches of devices whose values wander as measured ones do, over so many days."""
    random_ = random.Random(points)
    names = tuple((f"p{index}", "Cel", -1) for index in range(points))
    templates = [ProfileTemplate(f"gw-1.d{number}", names) for number in range(DEVICES)]
    raws = [[random_.randrange(100, 4000) for _ in range(points)] for _ in templates]
    count = readings // points
    step_ms = days * _DAY_MS / count
    head, first = GENESIS, 1
    while first <= count:
        records = []
        for number in range(first, min(first + BATCH_RECORDS, count + 1)):
            raw = raws[number % DEVICES]
            for index in random_.sample(range(points), points // 4):
                raw[index] = max(0, raw[index] + random_.randint(-3, 3))
            at = 1000 + round(number * step_ms)
            stamp = Stamp(at - 30, at, _WALL_MS + at, 20, CLOCK_SYNCHRONISED)
            records.append(templates[number % DEVICES].record(raw, stamp).data)
        at = 2000 + round(first * step_ms)
        anchor = Anchor(_BOOT, at, _WALL_MS + at, 20, CLOCK_SYNCHRONISED)
        yield build_batch(
            gateway="gw-1", key_epoch=0, stream=1, first=first, prev=head, anchor=anchor,
            records=records, key=_KEY, compress=True, maps=None,
        )  # fmt: skip
        head, first = fold(head, records), first + len(records)


def fill(folder: Path, readings: int, points: int, days: float = DAYS) -> Path:
    """Return a collector's database with so many readings, archived."""
    path = folder / "collector.db"
    database = Database(path)
    database.connection.execute("PRAGMA synchronous = OFF")  # what it costs is measured elsewhere
    keys = {"gw-1": {key_id(_KEY.public_key()): _KEY.public_key()}}
    receiver = BatchReceiver(database, _KEY, keys, {}, folder / "quarantine")
    for data in batches(readings, points, days):
        assert receiver.receive(data).verdict == ACCEPTED
    archive = database.archive(_KEY)
    while archive.advance(now=True):
        pass
    assert not archive.problem
    database.close()
    return path


def measure(folder: Path, readings: int, points: int) -> HistoryFigures:
    """Fill a database and measure it."""
    path = fill(folder, readings, points)
    archive_bytes = sum(file.stat().st_size for file in path.with_suffix(".archive").rglob("*"))
    with closing(open_for_audit(path)) as connection:
        archive = reader_beside(connection, path, _KEY.public_key())
        run = Audit(connection, lambda _gateway, _kid: _KEY.public_key(), None, archive=archive)
        begin = time.perf_counter()
        found = next(run.run(), None)
        audit_s = time.perf_counter() - begin
        assert found is None, found
    size = path.stat().st_size
    return HistoryFigures(run.readings, audit_s, size / run.readings, archive_bytes / run.readings)


def _a_day(connection: sqlite3.Connection, day: int = 5) -> int:
    """Read one point of one device for a day; return how many readings that were."""
    begin = _WALL_MS + day * _DAY_MS
    found = ReadingsReader(connection).dated("gw-1.d7", "p3", begin, begin + _DAY_MS)
    return sum(1 for _ in found)


def enlarge(path: Path, readings: int) -> int:
    """Repeat the rows of a database, each time later, until it has so many readings.

    A query meets the rows, the index and the size of a database that was filled by batches; what
    no query reads (batches, digests that are found again) is left out. Returns the readings.
    """
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        ((here,),) = connection.execute("SELECT count(*) FROM readings").fetchall()
        ((last, span),) = connection.execute(
            "SELECT max(seq), max(time_ms) - min(time_ms) + 1000 FROM records"
        ).fetchall()
        columns = "device, kind, time_ms + ?1 * ?2, unc_ms, clock, auth, status, boot_epoch,"
        columns += " sample_seq, boot_id, resp_ms + ?1 * ?2, digest, key_id"
        times = -(-readings // here)
        for number in range(1, times):
            where = (number, span, last)
            connection.execute(
                f"INSERT INTO records SELECT stream_id, seq + ?1 * ?3, {columns}"  # noqa: S608 # ours
                " FROM records WHERE seq <= ?3", where,
            )  # fmt: skip
            connection.execute(
                "INSERT INTO packed_readings SELECT stream_id, seq + ?1 * ?2, shape_id, numbers"
                " FROM packed_readings WHERE seq <= ?2", (number, last),
            )  # fmt: skip
        connection.execute("COMMIT")
        return int(here * times)


def bench_query(figures: Figures, short: bool) -> None:
    """Measure a day of one point out of a large database, with cold pages of SQLite."""
    with tempfile.TemporaryDirectory() as folder:
        path = fill(Path(folder), SMALL, 100, SMALL / 100 / DEVICES / RECORDS_A_DAY)
        count = enlarge(path, 400_000 if short else LARGE)
        with closing(open_readonly(path)) as connection:
            begin = time.perf_counter()
            found = _a_day(connection, count // (100 * DEVICES * RECORDS_A_DAY) // 2)
            took = time.perf_counter() - begin
        figures.add(
            f"collector with {count:,} readings: query of a day of one point", "s", took, "<= 1",
            f"{found} readings, {path.stat().st_size >> 20} MB",
        )  # fmt: skip


def bench_history(figures: Figures, short: bool) -> None:
    """Measure audit and query at 100 and at 10 points for each record."""
    readings = 20_000 if short else READINGS
    for points in (100, 10):
        with tempfile.TemporaryDirectory() as folder:
            found = measure(Path(folder), readings, points)
        what = f"collector with {found.rows:,} readings, {points} for each record"
        figures.add(
            f"{what}: audit against the archive, signatures included", "readings/s",
            found.rows / found.audit_s, ">= 500000",
        )  # fmt: skip
        figures.add(f"{what}: archive", "bytes/reading", found.archive_bytes_per_reading)
    bench_query(figures, short)
