"""The collector's SQLite database: what was verified, once, and how far each stream has come.

Its tables are in :mod:`.schema`.
"""

import hashlib
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from gateway_agent.directories import make_directory
from protocols.uplink import CLOCK_NAMES, KIND_NAMES, BatchHeader

from .new_record import NewRecord, is_of_medium, shown
from .schema import APPLICATION_ID, SCHEMA, SCHEMA_VERSION


def digest_of(gateway: str, boot_id: bytes, data: bytes) -> bytes:
    """Return 16 bytes that identify a record, whatever stream it comes in."""
    return hashlib.sha256(gateway.encode() + b"|" + boot_id + data).digest()[:16]


class Position(NamedTuple):
    """How far a stream is committed; ``id`` is the row of ``streams``."""

    id: int
    contiguous_to: int
    head: bytes


def open_readonly(path: Path, timeout_s: float = 5.0) -> sqlite3.Connection:
    """Open a collector's database to read it; close it afterwards.

    sqlite3.Error if there is none. ``timeout_s`` limits the wait for a writer's lock.
    """
    uri = f"{path.absolute().as_uri()}?mode=ro"
    return sqlite3.connect(uri, uri=True, timeout=timeout_s)


class Database:
    """One connection, used from one thread at a time.

    An exception means: nothing of it was committed; :func:`.new_record.is_of_medium` sorts them.
    """

    def __init__(self, path: Path) -> None:
        make_directory(path.parent, 0o755)
        if not path.exists():
            # SQLite would make it readable by others; its log gets its mode. The operator may let
            # others read it: a mode that was given to the file stays.
            with suppress(OSError):  # SQLite's own error is the better one
                path.touch(mode=0o600)
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
        try:
            self._open(path)
        except BaseException:
            self._db.close()
            raise
        self._points: dict[tuple[str, str, str], int] = {
            (device, name, unit): number
            for number, device, name, unit in self._db.execute(
                "SELECT id, device, name, unit FROM points"
            )
        }

    def _open(self, path: Path) -> None:
        (mode,) = self._db.execute("PRAGMA journal_mode = WAL").fetchone()
        self._db.execute("PRAGMA synchronous = FULL")
        (level,) = self._db.execute("PRAGMA synchronous").fetchone()
        if (mode, level) != ("wal", 2):
            raise sqlite3.OperationalError(
                f"{path}: a commit would not be durable: journal_mode is {mode}, synchronous"
                f" {level}; put the database on a local file system"
            )
        (application,) = self._db.execute("PRAGMA application_id").fetchone()
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if (application, version) == (0, 0):
            # One transaction: a process that is killed leaves an empty file, not half a schema.
            self._db.executescript(
                f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA application_id = {APPLICATION_ID};"
                f" PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
            )
        elif (application, version) != (APPLICATION_ID, SCHEMA_VERSION):
            raise sqlite3.DatabaseError(
                f"{path}: expected a collector database of version {SCHEMA_VERSION}, got"
                f" application id {application:#x} version {version}; name another file"
            )

    def close(self) -> None:
        """Release the file."""
        self._db.close()

    def position(self, gateway: str, stream: int) -> Position | None:
        """Return how far this stream has come, None if nothing of it was ever committed."""
        row = self._db.execute(
            "SELECT id, contiguous_to, head FROM streams WHERE gateway = ? AND stream = ?",
            (gateway, stream),
        ).fetchone()
        return Position(*row) if row else None

    def positions(self) -> list[tuple[str, int, int, bytes]]:
        """Return (gateway, stream, contiguous_to, head) of every stream."""
        return self._db.execute(
            "SELECT gateway, stream, contiguous_to, head FROM streams ORDER BY gateway, stream"
        ).fetchall()

    def heads(self, stream_id: int, first: int, last: int) -> dict[int, bytes]:
        """Return the chain's heads at the ends of committed batches from ``first`` to ``last``."""
        return dict(
            self._db.execute(
                "SELECT last, head FROM batches WHERE stream_id = ? AND last BETWEEN ? AND ?",
                (stream_id, first, last),
            ).fetchall()
        )

    def repeated(self, header: BatchHeader, records: Sequence[bytes]) -> set[int]:
        """Return which of ``records`` were committed before in another stream of this gateway.

        A gateway whose outbox was damaged, or rolled back to an older image, sends what it still
        has in a new stream; some of it may have arrived in the old one. The result holds indices.
        """
        others = self._db.execute(
            "SELECT 1 FROM streams WHERE gateway = ? AND stream <> ? LIMIT 1",
            (header.gateway, header.stream),
        ).fetchone()
        if others is None:
            return set()
        boot_id = header.anchor.boot_id
        return {
            index
            for index, data in enumerate(records)
            if self._db.execute(
                "SELECT 1 FROM records JOIN streams ON streams.id = stream_id"
                " WHERE digest = ? AND stream <> ?",
                (digest_of(header.gateway, boot_id, data), header.stream),
            ).fetchone()
        }

    def count(self, name: str, value: int = 1) -> None:
        """Add to a counter, durably."""
        self._db.execute(
            "INSERT INTO counters VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
            (name, value),
        )

    def counters(self) -> dict[str, int]:
        """Return all counters by name."""
        return dict(self._db.execute("SELECT name, value FROM counters").fetchall())

    def commit(
        self, header: BatchHeader, new: Iterable[NewRecord], counts: dict[str, int]
    ) -> Position:
        """Store a batch's new records and move its stream to ``header.last``, in one commit."""
        self._db.execute("BEGIN IMMEDIATE")
        points = dict(self._points)
        try:
            stream_id = self._stream(header)
            self._records(stream_id, header, new, points)
            self._db.execute(
                "INSERT INTO batches VALUES (?, ?, ?, ?, ?)",
                (stream_id, header.first, header.last, header.head, header.anchor.boot_id),
            )
            self._repair_times(header)
            for name, value in counts.items():
                self.count(name, value)
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self._points = points
        return Position(stream_id, header.last, header.head)

    def unstorable(self, header: BatchHeader, new: Iterable[NewRecord]) -> dict[int, str]:
        """Return which of ``new`` cannot be stored, and why, by trying each; stores nothing."""
        reasons: dict[int, str] = {}
        points = dict(self._points)
        self._db.execute("BEGIN IMMEDIATE")
        try:
            stream_id = self._stream(header)
            for item in new:
                self._db.execute("SAVEPOINT record")
                try:
                    self._records(stream_id, header, [item], points)
                except Exception as error:
                    if is_of_medium(error):
                        raise
                    reasons[item.seq] = item.too_wide() or shown(error)
                self._db.execute("ROLLBACK TO record")
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        return reasons

    def _stream(self, header: BatchHeader) -> int:
        (stream_id,) = self._db.execute(
            "INSERT INTO streams (gateway, stream, contiguous_to, head) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (gateway, stream) DO UPDATE"
            " SET contiguous_to = excluded.contiguous_to, head = excluded.head RETURNING id",
            (header.gateway, header.stream, header.last, header.head),
        ).fetchone()
        return int(stream_id)

    def _records(
        self,
        stream_id: int,
        header: BatchHeader,
        new: Iterable[NewRecord],
        points: dict[tuple[str, str, str], int],
    ) -> None:
        boot_id = header.anchor.boot_id
        records, readings, failures, events, gaps, refused = [], [], [], [], [], []
        for item in new:
            record = item.decoded
            if record is None:
                refused.append((stream_id, item.seq, item.data, item.reason))
                continue
            at = (stream_id, item.seq)
            stamp = record.stamp
            records.append(
                (
                    *at, record.device_id, KIND_NAMES[record.kind], stamp.wall_ms, stamp.unc_ms,
                    CLOCK_NAMES[stamp.clock_state], item.auth, record.status, item.boot_epoch,
                    item.sample_seq, boot_id, stamp.resp_ms,
                    digest_of(header.gateway, boot_id, item.data),
                )
            )  # fmt: skip
            for name, unit, value in record.values:
                point = points.get((record.device_id, name, unit))
                if point is None:
                    point = self._point(points, record.device_id, name, unit)
                readings.append((*at, point, value))
            failures += [(*at, name, quality) for name, quality in record.failures]
            events += [(*at, e.number, e.name, e.arg, e.offset_ms) for e in record.events]
            if record.gap is not None:
                gap = record.gap
                gaps.append(
                    (*at, record.device_id, gap.cause, gap.boot_epoch, gap.first, gap.last,
                     gap.detail)
                )  # fmt: skip
        many = self._db.executemany
        many("INSERT INTO records VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)", records)
        many("INSERT INTO readings VALUES (?,?,?,?)", readings)
        many("INSERT INTO failures VALUES (?,?,?,?)", failures)
        many("INSERT INTO events VALUES (?,?,?,?,?,?)", events)
        many("INSERT INTO gaps VALUES (?,?,?,?,?,?,?,?)", gaps)
        many("INSERT INTO refused VALUES (?,?,?,?)", refused)

    def _point(
        self, points: dict[tuple[str, str, str], int], device: str, name: str, unit: str
    ) -> int:
        (number,) = self._db.execute(
            "INSERT INTO points (device, name, unit) VALUES (?, ?, ?) RETURNING id",
            (device, name, unit),
        ).fetchone()
        points[device, name, unit] = int(number)
        return int(number)

    def _repair_times(self, header: BatchHeader) -> None:
        """Give the records of this boot that had no clock their time, now that there is one."""
        anchor = header.anchor
        if anchor.wall_ms is None:
            return
        self._db.execute(
            "UPDATE records SET time_ms = resp_ms + ?, unc_ms = ?, clock = ?"
            " WHERE boot_id = ? AND time_ms IS NULL",
            (
                anchor.wall_ms - anchor.mono_ms,
                anchor.unc_ms,
                CLOCK_NAMES[anchor.clock_state],
                anchor.boot_id,
            ),
        )
