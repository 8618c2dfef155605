"""The collector's SQLite database: what was verified, once, and how far each stream has come.

Its tables are in :mod:`.schema`, the rows of a batch in :mod:`.rows`, the stored batches in
:mod:`.batch_log`.
"""

import logging
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway_agent.clock import GatewayClock, SystemClock
from gateway_agent.directories import make_directory
from gateway_agent.store.database import settle
from gateway_agent.store.errors import StoreError
from gateway_agent.store.head_file import ChainHead
from gateway_agent.store.lock import Lock
from gateway_agent.store.rebuild import finish
from protocols.uplink import ACTION, GAP, KIND_NAMES, BatchHeader

from . import migration
from .archive import BatchArchive
from .batch_log import WENT_BACK, BatchLog
from .dating import CONTRADICTED, Dating
from .errors import RESTORE, DamagedDatabase, damage_named
from .missing import MissingRecords
from .new_record import FrameId, NewRecord, is_of_medium, shown
from .rows import Row, is_in_other_stream, rows_of, seal
from .schema import APPLICATION_ID, SCHEMA, SCHEMA_VERSION, VIEWS
from .shapes import Shapes

log = logging.getLogger(__name__)

_INSERT_RECORD: Final = "INSERT INTO records VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
_FRAME: Final = (
    "SELECT gateway, stream, seq FROM records JOIN streams ON streams.id = stream_id"
    " WHERE device = ?1 AND kind = ?2 AND boot_epoch = ?4 AND sample_seq = ?5 AND key_id "
)
# Two searches in an index; OR would be one among all frames of the node.
# Both go along the index records_of_frames.
_NEXT_KEY: Final = (
    "SELECT min(key_id) FROM records WHERE device = ? AND kind = 'sample' AND key_id > ?"
    " AND sample_seq IS NOT NULL"
)
_FIRST_OF_KEY: Final = (
    "SELECT stream_id, seq FROM records WHERE device = ? AND kind = 'sample' AND key_id = ?"
    " AND sample_seq IS NOT NULL ORDER BY boot_epoch, sample_seq LIMIT 1"
)
_NEWEST_GAPS: Final = (
    "SELECT device, stream_id, max(seq) FROM gaps WHERE cause = ?1 AND stream_id ="
    " (SELECT max(stream_id) FROM gaps AS newer WHERE newer.device = gaps.device"
    " AND newer.cause = ?1) GROUP BY device"
)
_WHERE_IS: Final = _FRAME + "= ?3 UNION ALL " + _FRAME + "IS NULL"
_INSERT_GAP: Final = "INSERT INTO gaps VALUES (?,?,?,?,?,?,?,?,?,?,?)"


# Kinds whose first record does not make a device its gateway's: nothing of the device is in them.
_NO_CLAIM: Final = (KIND_NAMES[GAP], KIND_NAMES[ACTION])
_MAX_OWNERS: Final = 1 << 16  # devices whose gateway is remembered: about 10 MB


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


def lock_of(path: Path) -> Lock:
    """Lock the database at ``path`` for this process. StoreBusy: another one has it."""
    return Lock(
        path.parent,
        f"{path.name}.lock",
        f"where another collector has {path.name}: stop that one, or name another database",
    )


class Database:
    """One connection, used from one thread at a time; one process has the file.

    An exception means: nothing of it was committed; :func:`.new_record.is_of_medium` sorts them.
    ``alarms``: what was found at the start that an operator must learn of. ``contradicted``: times
    of the newest commit that contradict an anchor, see :mod:`.dating`.
    """

    def __init__(self, path: Path, clock: GatewayClock | None = None) -> None:
        """Open, or begin, the database. StoreBusy: another process has it; sqlite3.Error.

        DamagedDatabase: it cannot be read; the text has a remedy.
        """
        make_directory(path.parent, 0o755)
        self.path, self._clock = path, clock or SystemClock()
        self._lock = lock_of(path)
        self.alarms: list[str] = []
        try:
            finish(path)
            with damage_named():
                self._connect(path)
                self._begin(path, self._clock)
        except BaseException:
            self._lock.release()
            raise

    def archive(self, key: Ed25519PrivateKey) -> BatchArchive:
        """Return the archive of this database, whose index is signed with the collector's key."""
        return BatchArchive(self._db, self.path, key, self._clock)

    def _connect(self, path: Path) -> None:
        if not path.exists():
            # SQLite would make it readable by others; its log gets its mode. The operator may let
            # others read it: a mode that was given to the file stays.
            with suppress(OSError):  # SQLite's own error is the better one
                path.touch(mode=0o600)
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
        self._shapes = Shapes(self._db)
        self._owners: dict[str, str] = {}  # by device, of those that are stored
        try:
            self._open(path)
        except BaseException:
            self._db.close()
            raise

    def _begin(self, path: Path, clock: GatewayClock) -> None:
        try:
            self._log = BatchLog(self._db, path, clock)
            problem = self._log.went_back()
            if problem:
                self.alarms.append(f"{path}: {problem}")
                log.error("%s: %s; the gateways name what is missing as a gap", path, problem)
                self.count(WENT_BACK)
            self._log.write_head_file()
            self._dating = Dating(self._db)
            self.contradicted = self._date_earlier()
        except BaseException:
            self._db.close()
            raise

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
            with self._transaction():
                for statement in SCHEMA.split(";"):
                    self._db.execute(statement)
                migration.begin(self._db)
                self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        elif application != APPLICATION_ID or not 1 <= version <= SCHEMA_VERSION:
            newer = application == APPLICATION_ID and version > SCHEMA_VERSION
            remedy = "install the newer release that wrote it" if newer else "name another file"
            raise sqlite3.DatabaseError(
                f"{path}: expected a collector database of version {SCHEMA_VERSION}, got"
                f" application id {application:#x} version {version}; {remedy}, or, if this release"
                f" wrote the file, it is damaged: {RESTORE}"
            )
        elif version < SCHEMA_VERSION:
            with self._transaction():
                for step in migration.STEPS[version - 1 :]:
                    step(self._db)
                self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        self._check_first_page(path)

    def _check_first_page(self, path: Path) -> None:
        """Find what SQLite reports only when it writes. DamagedDatabase."""
        (fault,) = self._db.execute("PRAGMA integrity_check(sqlite_schema)").fetchone()
        if fault != "ok":
            raise DamagedDatabase(f"the first page is damaged: {fault}")
        views = dict(self._db.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'view'"))
        for name, sql in VIEWS.items():
            if views.get(name) != sql:
                raise DamagedDatabase(f"the view {name} is not what was written")
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            self._db.execute("ROLLBACK")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_READONLY or not os.access(path, os.W_OK):
                raise
            raise DamagedDatabase("the first page is damaged: it forbids writing") from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Make the block one commit; an exception in it takes everything back."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            self._take_back()
            raise

    def _take_back(self) -> None:
        self._shapes.forget()
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def close(self) -> None:
        """Bring the head file up to date and release the files."""
        try:
            self.settle()
        finally:
            self._db.close()
            self._lock.release()

    @property
    def evidence(self) -> ChainHead:
        """Return number and chain of the last batch that is committed."""
        return self._log.head

    @property
    def connection(self) -> sqlite3.Connection:
        """Return the connection, for what writes in transactions of its own, in this thread."""
        return self._db

    def settle_log(self) -> None:
        """Move the whole log into the main file, durably. StoreError: that is not possible now."""
        settle(self._db)

    def settle(self) -> None:
        """Bring the head file up to date, if a commit is newer; call it some time after one."""
        try:
            if self._log.is_behind:
                self._log.write_head_file()
        except StoreError as error:
            log.error("the head file cannot be written: %s", error)

    def position(self, gateway: str, stream: int) -> Position | None:
        """Return how far this stream has come, None if nothing of it was ever committed."""
        row = self._db.execute(
            "SELECT id, contiguous_to, head FROM streams WHERE gateway = ? AND stream = ?",
            (gateway, stream),
        ).fetchone()
        return Position(*row) if row else None

    def newest_other(self, gateway: str, stream: int) -> tuple[int, int] | None:
        """Return the newest stream of a gateway beside ``stream``, and how far it is committed."""
        found: tuple[int, int] | None = self._db.execute(
            "SELECT stream, contiguous_to FROM streams WHERE gateway = ? AND stream <> ?"
            " ORDER BY stream DESC LIMIT 1",
            (gateway, stream),
        ).fetchone()
        return found

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
        return {
            index
            for index, data in enumerate(records)
            if is_in_other_stream(self._db, header, data)
        }

    def owner_of(self, device: str) -> str | None:
        """Return the gateway that brought the first data of a device; None if there are none.

        Call it outside of transactions: it is remembered, and never changes once it is stored.
        """
        owner = self._owners.get(device)
        if owner is None:
            find = "SELECT gateway FROM devices WHERE device = ?"
            row = self._db.execute(find, (device,)).fetchone()
            if row is not None:
                if len(self._owners) >= _MAX_OWNERS:
                    self._owners.clear()
                owner = self._owners[device] = str(row[0])
        return owner

    def keys_of(self, device: str) -> set[int]:
        """Return the key ids under which frames of a node are stored."""
        found: set[int] = set()
        last: int | None = -1
        while last is not None:  # from key to key along the index: a node has many frames
            row = self._db.execute(_NEXT_KEY, (device, last)).fetchone()
            last = row[0]
            if last is not None:
                found.add(last)
        return found

    def retired_keys(self, cause: str) -> dict[str, set[int]]:
        """Return by device the keys whose first frame is older than the newest gap of ``cause``."""
        retired: dict[str, set[int]] = {}
        rows = self._db.execute(_NEWEST_GAPS, (cause,)).fetchall()
        for device, stream_id, seq in rows:
            for key in self.keys_of(device):
                first = self._db.execute(_FIRST_OF_KEY, (device, key)).fetchone()
                if tuple(first) < (stream_id, seq):
                    retired.setdefault(device, set()).add(key)
        return retired

    def where_is(self, frame: FrameId) -> str:
        """Return where a frame of a node is stored, for people; "" if it is not.

        Which key a frame had was not stored in version 1: there, any fits.
        """
        row = self._db.execute(_WHERE_IS, frame).fetchone()
        return f"record {row[2]} of stream {row[1]} of {row[0]}" if row else ""

    def count(self, name: str, value: int = 1) -> None:
        """Add to a counter, durably."""
        self._count({name: value})

    def _count(self, values: Mapping[str, int]) -> None:
        before = self.counters()
        totals = [
            (name, before.get(name, 0) + value)
            for name, value in values.items()
            if value or name not in before
        ]
        self._db.executemany(
            "REPLACE INTO counters VALUES (?, ?, ?)", [(*total, seal(*total)) for total in totals]
        )

    def counters(self) -> dict[str, int]:
        """Return all counters by name."""
        return dict(self._db.execute("SELECT name, value FROM counters").fetchall())

    def commit(
        self, data: bytes, header: BatchHeader, new: Iterable[NewRecord], counts: dict[str, int]
    ) -> Position:
        """Store a batch's new records and move its stream to ``header.last``, in one commit.

        ``data``: the batch as it was received.
        """
        with self._transaction():
            stream_id = self._stream(header.gateway, header.stream, header.last, header.head)
            self._dating.enter(header, self._log.head.last + 1)
            self._records(stream_id, header, new)
            head = self._log.add(stream_id, header, data)
            if self._dating.contradicted:
                counts = {**counts, CONTRADICTED: self._dating.contradicted}
            self._count(counts)
        self._log.follow(head)
        self.contradicted = self._dating.contradicted + self._date_earlier()
        return Position(stream_id, header.last, header.head)

    def miss(self, missing: MissingRecords, counts: dict[str, int]) -> None:
        """Name records as missing for good, with a gap, and move their stream behind them.

        They follow what is committed of the stream.
        """
        with self._transaction():
            stream_id = self._stream(missing.gateway, missing.stream, missing.last, missing.head)
            self._db.executemany(_INSERT_RECORD, missing.record_rows(stream_id))
            self._db.executemany(_INSERT_GAP, missing.gap_rows(stream_id))
            head = self._log.add_missing(stream_id, missing)
            self._count(counts)
        self._log.follow(head)

    def _date_earlier(self) -> int:
        """Date records of before anew, where an anchor took over; return how many contradict it.

        Each part is a transaction; the next start goes on where this process ended.
        """
        contradicted = 0
        while self._dating.is_due():
            with self._transaction():
                here = self._dating.date_part()
                if here:
                    self.count(CONTRADICTED, here)
            contradicted += here
        return contradicted

    def unstorable(self, header: BatchHeader, new: Iterable[NewRecord]) -> dict[int, str]:
        """Return which of ``new`` cannot be stored, and why, by trying each; stores nothing."""
        reasons: dict[int, str] = {}
        self._db.execute("BEGIN IMMEDIATE")
        try:
            stream_id = self._stream(header.gateway, header.stream, header.last, header.head)
            self._dating.enter(header, self._log.head.last + 1)
            for item in new:
                self._db.execute("SAVEPOINT record")
                try:
                    self._records(stream_id, header, [item])
                except Exception as error:
                    if is_of_medium(error):
                        raise
                    reasons[item.seq] = item.too_wide() or shown(error)
                self._db.execute("ROLLBACK TO record")
                self._shapes.forget()
        finally:
            self._take_back()
        return reasons

    def _stream(self, gateway: str, stream: int, to: int, head: bytes) -> int:
        (stream_id,) = self._db.execute(
            "INSERT INTO streams (gateway, stream, contiguous_to, head) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (gateway, stream) DO UPDATE"
            " SET contiguous_to = excluded.contiguous_to, head = excluded.head RETURNING id",
            (gateway, stream, to, head),
        ).fetchone()
        return int(stream_id)

    def _records(self, stream_id: int, header: BatchHeader, new: Iterable[NewRecord]) -> None:
        rows = rows_of(stream_id, header, new)
        packed: list[Row] = []
        single: list[Row] = []
        for stream, seq, record in rows.readings:
            row = self._shapes.pack(record)
            if row is not None:
                packed.append((stream, seq, *row))
                continue
            for name, unit, value in record.values:
                point = self._shapes.point(record.device_id, name, unit)
                single.append((stream, seq, point, value))
        many = self._db.executemany
        records = [self._dating.date(row) for row in rows.records]
        devices = {
            (row[2], header.gateway)
            for row in rows.records
            if row[2] not in self._owners and row[3] not in _NO_CLAIM
        }
        many("INSERT OR IGNORE INTO devices VALUES (?,?)", devices)
        many(_INSERT_RECORD, records)
        many("INSERT INTO packed_readings VALUES (?,?,?,?)", packed)
        many("INSERT INTO single_readings VALUES (?,?,?,?)", single)
        many("INSERT INTO failures VALUES (?,?,?,?)", rows.failures)
        many("INSERT INTO events VALUES (?,?,?,?,?,?)", rows.events)
        many(_INSERT_GAP, rows.gaps)
        many("INSERT INTO files VALUES (?,?,?,?,?,?,?,?,?)", rows.files)
        many("INSERT INTO actions VALUES (?,?,?,?,?,?,?)", rows.actions)
        many("INSERT INTO refused VALUES (?,?,?,?,?)", rows.refused)
