"""The outbox: every record from its commit to the collector's receipt, in one hash chain.

Promises, each with a test:

* a record that :meth:`Outbox.append` returned for is on the medium (WAL, synchronous = FULL);
* ``h(n) = SHA-256(h(n-1) || record(n))``; the sequence number is the position in the chain and is
  never used twice, because a new stream (a new chain from GENESIS) gets an id that was never used;
* what is pruned is covered by a receipt whose head equals ours;
* damage (flipped bits, a truncated log, a lost file) is found before anything is sent. The damaged
  files go into ``quarantine/``, the good records into a new stream, and a GAP record says what is
  missing and why. Nobody has to delete a file.

Everything here is synchronous and belongs to one thread; :mod:`.writer` is its asyncio front.
"""

import errno
import logging
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from gateway_agent.clock import Clock
from gateway_agent.counters import Counters
from protocols.uplink.batch import Anchor
from protocols.uplink.chain import GENESIS, fold
from protocols.uplink.receipt import Receipt
from protocols.uplink.record import Record

from . import database, witness
from .errors import ReceiptRefused, StoreDamaged, StoreError, StoreFailed, StoreFull
from .group import COLUMNS, INSERT, group_of, readings_of, row_of, split
from .lock import Lock
from .mark import Mark
from .opening import Loaded, TruncatedError, compare, is_empty, load
from .rebuild import Rebuild, finish
from .reserve import Reserve
from .salvage import quarantine
from .state import BASE, Base, anchor_name, anchor_now, anchor_row, mark_row, new_stream
from .witness import Witness

log = logging.getLogger(__name__)

ANCHOR_MS: Final = 60_000  # a boot's clock anchor is written with a commit at most this often
DEFAULT_MAX_BYTES: Final = 1 << 30


class Slice(NamedTuple):
    """Consecutive records of one boot. ``prev`` and ``head``: the chain before and after them."""

    stream: int
    first: int
    last: int
    prev: bytes
    head: bytes
    records: tuple[Record, ...]
    anchor: Anchor

    @property
    def readings(self) -> int:
        """Readings in all of its records."""
        return sum(record.readings for record in self.records)


class Pruned(NamedTuple):
    """What a receipt let go of."""

    records: int
    readings: int


class Stats(NamedTuple):
    """``depth`` records wait for a receipt; ``file_bytes`` of ``max_bytes`` are allocated."""

    stream: int
    last: int
    receipted_to: int
    depth: int
    file_bytes: int
    max_bytes: int


class Outbox:
    """Open with :meth:`open`, close with :meth:`close`."""

    def __init__(
        self,
        directory: Path,
        gateway: str,
        clock: Clock,
        counters: Counters,
        max_bytes: int = DEFAULT_MAX_BYTES,
        witness_ms: int = 0,
    ) -> None:
        """``witness_ms``: how long the witness file may lag a commit."""
        self._directory = directory
        self._gateway = gateway
        self._clock = clock
        self._counters = counters
        self._max_bytes = max_bytes
        self._witness_ms = witness_ms
        self._path = directory / "outbox.db"
        self._witness_path = directory / "outbox.head"
        self.reserve = Reserve(directory / "outbox.reserve", clock)
        self._lock: Lock | None = None  # if it is ours to release
        self._connection: sqlite3.Connection | None = None
        self._base = Base(0, 0, GENESIS)
        self._last = 0
        self._head = GENESIS
        self._marks: dict[str, Mark] = {}
        self._anchors: dict[bytes, Anchor] = {}
        self._witness_at: int | None = None
        self.witness_due = False
        self.failed = False

    # --- opening and closing -------------------------------------------------------------------

    @classmethod
    def open(
        cls,
        directory: Path,
        gateway: str,
        clock: Clock,
        counters: Counters,
        max_bytes: int = DEFAULT_MAX_BYTES,
        witness_ms: int = 0,
        lock: Lock | None = None,
    ) -> "Outbox":
        """Open, check and, if need be, repair.

        ``lock``: the directory's, if the caller has it (and keeps it until the outbox is closed).
        StoreBusy, StoreFailed, or StoreFull: a repair or a new file needs room, try again later.
        """
        box = cls(directory, gateway, clock, counters, max_bytes, witness_ms)
        try:
            if lock is None:
                box._lock = Lock(directory)
            box._open()
        except OSError as error:
            box._abandon()
            raise StoreFailed(f"{directory}: {error}") from error
        except BaseException:
            box._abandon()
            raise
        return box

    def _open(self) -> None:
        seen = self._read_witness()
        finish(self._path)
        fresh = not self._path.exists()
        try:
            if fresh and seen is not None:
                raise StoreDamaged("the database is gone, its witness is still here")
            self._connection = database.connect(self._path, self._max_bytes)
            if fresh or (seen is None and is_empty(self._connection)):
                self._create()
            else:
                compare(self._load(), seen)
        except StoreDamaged as damage:
            truncated = fresh or isinstance(damage, TruncatedError)
            self._rebuild(
                "db_truncated" if truncated else "outbox_damaged", str(damage), seen, damaged=True
            )
        self.write_witness()
        self.reserve.keep()

    def close(self) -> None:
        """Bring the witness up to date and release everything; the files stay as they are."""
        if self._connection is not None and not self.failed and self.witness_due:
            self.write_witness()
        self._abandon()

    def _abandon(self) -> None:
        if self._connection is not None:
            try:
                self._connection.close()
            except sqlite3.Error as error:
                log.warning("closing the outbox: %s", error)
            self._connection = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _read_witness(self) -> Witness | None:
        try:
            return witness.read(self._witness_path)
        except StoreDamaged as error:
            # The chain in the database still proves itself; what can no longer be seen is whether
            # its end is missing, and the collector's next receipt will tell that.
            log.warning("%s; it goes into quarantine", error)
            self._counters.store_damaged += 1
            quarantine(self._directory, [self._witness_path], "witness")
            return None

    def _create(self) -> None:
        self._base = new_stream(0)
        self._last, self._head = self._base.to, self._base.head
        with database.transaction(self._db):
            database.put_state(self._db, BASE, self._base.pack())

    @property
    def _db(self) -> sqlite3.Connection:
        if self.failed:
            raise StoreFailed("a write failed before; this process may not write again")
        assert self._connection is not None, "the outbox is not open"
        return self._connection

    def _load(self) -> Loaded:
        loaded = load(self._db)
        self._base, self._last, self._head = loaded.base, loaded.last, loaded.head
        self._marks, self._anchors = loaded.marks, loaded.anchors
        return loaded

    # --- writing -------------------------------------------------------------------------------

    def append(self, records: Sequence[Record], marks: Mapping[str, Mark]) -> int:
        """Make ``records`` and ``marks`` durable in one commit; the last sequence number.

        Either all of it is on the medium when this returns, or nothing is: StoreFull (try again
        when there is space), StoreFailed (this object refuses everything from then on).
        """
        boot_id = self._clock.boot_id
        first, head = self._last + 1, self._head
        rows = []
        for run in split(records):
            row = row_of(first, boot_id, head, run)
            rows.append(row)
            first, head = first + len(run), row[3]
        with self._guarded(), database.transaction(self._db):
            self._db.executemany(INSERT, rows)
            for device, mark in marks.items():
                database.put_state(self._db, *mark_row(device, mark))
            anchor = self._put_anchor(boot_id)
        self._last, self._head = first - 1, head
        self._anchors[boot_id] = anchor
        self._marks.update(marks)
        self._counters.commits += 1
        self._counters.records_recorded += len(records)
        self._counters.readings_recorded += sum(record.readings for record in records)
        self.witness_due = True
        now = self._clock.boot_ms()
        if self._witness_at is None or now - self._witness_at >= self._witness_ms:
            self.write_witness()
        return self._last

    def write_witness(self) -> None:
        """Bring the second file up to the last commit; call it within ``witness_ms`` of a commit.

        A full disk is tolerated (the witness lags, which is the safe side); any other error means
        an fsync cannot be trusted: StoreFailed.
        """
        try:
            witness.write(self._witness_path, Witness(self._base.stream, self._last, self._head))
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                self.failed = True
                raise StoreFailed(f"{self._witness_path}: {error}") from error
            log.warning("%s: %s", self._witness_path, error)
        else:
            self.witness_due = False
        self._witness_at = self._clock.boot_ms()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Turns this object off for good when the block ends in StoreFailed."""
        try:
            yield
        except StoreFailed:
            self.failed = True
            raise

    def _put_anchor(self, boot_id: bytes) -> Anchor:
        """Keep this boot's anchor for batches that are sent after it; the one that is stored."""
        anchor = anchor_now(self._clock)
        before = self._anchors.get(boot_id)
        if (
            before is not None
            and anchor.mono_ms - before.mono_ms < ANCHOR_MS
            and anchor.clock_state == before.clock_state
        ):
            return before
        database.put_state(self._db, *anchor_row(anchor))
        return anchor

    # --- reading -------------------------------------------------------------------------------

    def marks(self) -> dict[str, Mark]:
        """How far the intake of each node has got, by device id."""
        return dict(self._marks)

    def stats(self) -> Stats:
        """Where the chain, the receipts and the file stand."""
        with database.explained():
            (pages,) = self._db.execute("PRAGMA page_count").fetchone()
        return Stats(
            self._base.stream,
            self._last,
            self._base.to,
            self._last - self._base.to,
            pages * database.PAGE_BYTES,
            self._max_bytes,
        )

    def slice(self, after: int, max_records: int, max_bytes: int) -> Slice | None:
        """Up to ``max_records`` records of one boot after sequence number ``after``.

        At least one record if there is any, whatever its size; None if there is none. ``after``
        below what is receipted means from there on. Everything handed out has just been checked
        against the chain: StoreDamaged if it does not fit (then call :meth:`rebuild`).
        """
        after = max(after, self._base.to)
        if after >= self._last:
            return None
        taken: list[Record] = []
        size = 0
        boot_id = b""
        prev = head = b""
        with self._guarded(), database.explained():
            rows = self._db.execute(
                f"SELECT {COLUMNS} FROM groups WHERE first >="  # noqa: S608 # constant
                " (SELECT max(first) FROM groups WHERE first <= ?) ORDER BY first",
                (after + 1,),
            )
            for row in rows:
                if len(taken) >= max_records:
                    break
                group = group_of(row)
                skip = max(0, after + 1 - group.first)
                if not taken:
                    if skip >= len(group.records):
                        break
                    boot_id = group.boot_id
                    prev = head = fold(group.prev, [r.data for r in group.records[:skip]])
                elif group.boot_id != boot_id or group.prev != head:
                    break
                if not skip and len(taken) + len(group.records) <= max_records:
                    whole = sum(len(record.data) for record in group.records)
                    if size + whole <= max_bytes:
                        taken += group.records
                        size, head = size + whole, group.head
                        continue
                for record in group.records[skip:]:
                    size += len(record.data)
                    if taken and (len(taken) >= max_records or size > max_bytes):
                        break
                    taken.append(record)
                    head = fold(head, (record.data,))
                else:
                    continue
                break
        if not taken or (after == self._base.to and prev != self._base.head):
            raise StoreDamaged(f"the group of record {after + 1} is gone")
        return Slice(
            self._base.stream, after + 1, after + len(taken), prev, head, tuple(taken),
            self._anchor_of(boot_id),
        )  # fmt: skip

    def _anchor_of(self, boot_id: bytes) -> Anchor:
        if boot_id == self._clock.boot_id:
            return anchor_now(self._clock)
        return self._anchors.get(boot_id) or Anchor(boot_id, 0, None, 0, 0)

    # --- receipts ------------------------------------------------------------------------------

    def apply_receipt(self, receipt: Receipt) -> Pruned:
        """Let go of what a receipt covers; the caller has verified its signature and its gateway.

        ReceiptRefused if it speaks of our stream but not of our chain; nothing is pruned then.
        A receipt of a stream that is no more, or with nothing new, prunes nothing.
        """
        return self.release(receipt.stream, receipt.contiguous_to, receipt.head)

    def release(self, stream: int, to: int, head: bytes) -> Pruned:
        """As :meth:`apply_receipt`, for who has decided that ``to`` is delivered (PUBACK mode)."""
        if stream != self._base.stream or to < self._base.to:
            return Pruned(0, 0)
        if to > self._last:
            raise ReceiptRefused(
                f"the collector has records to {to} of stream {stream}, here it ends at"
                f" {self._last}",
                True,
                to,
            )
        records, readings, ours = self._covered(to)
        if ours != head:
            raise ReceiptRefused(
                f"the collector's head at record {to} of stream {stream} is {head.hex()[:16]}...,"
                f" ours is {ours.hex()[:16]}...",
                False,
                to,
            )
        if not records:
            return Pruned(0, 0)
        try:
            self._prune(to, head)
        except StoreFull:
            # The delete itself needs room in the log: that is what the reserve is for.
            self.reserve.give()
            self._prune(to, head)
        self._counters.records_delivered += records
        self._counters.readings_delivered += readings
        return Pruned(records, readings)

    def _covered(self, to: int) -> tuple[int, int, bytes]:
        """Records and readings after the last receipt up to ``to``, and the head there."""
        if to == self._base.to:
            return 0, 0, self._base.head
        readings = 0
        with self._guarded(), database.explained():
            for first, sizes in self._db.execute(
                "SELECT first, sizes FROM groups WHERE first <= ? ORDER BY first", (to,)
            ):
                skip = max(0, self._base.to + 1 - first)
                readings += sum(readings_of(sizes)[skip : to + 1 - first])
            row = self._db.execute(
                f"SELECT {COLUMNS} FROM groups WHERE first <= ? ORDER BY first DESC LIMIT 1",  # noqa: S608 # constant
                (to,),
            ).fetchone()
        if row is None:
            raise StoreDamaged(f"the group of record {to} is gone")
        group = group_of(row)
        head = fold(group.prev, [r.data for r in group.records[: to + 1 - group.first]])
        return to - self._base.to, readings, head

    def _prune(self, to: int, head: bytes) -> None:
        before = self._base
        self._base = Base(before.stream, to, head)
        try:
            with self._guarded(), database.transaction(self._db):
                # A group that ends after `to` stays until the rest of it is covered too: what is
                # deleted is what lies before the group that holds record `to + 1`.
                self._db.execute(
                    "DELETE FROM groups WHERE first < coalesce((SELECT max(first) FROM groups"
                    " WHERE first <= ?), ?)",
                    (to + 1, to + 1) if to < self._last else (0, to + 1),
                )
                database.put_state(self._db, BASE, self._base.pack())
                self._drop_anchors()
        except StoreError:
            self._base = before
            raise

    def _drop_anchors(self) -> None:
        if len(self._anchors) < 2:
            return
        kept = {row[0] for row in self._db.execute("SELECT DISTINCT boot_id FROM groups")}
        for boot_id in set(self._anchors) - kept - {self._clock.boot_id}:
            self._db.execute("DELETE FROM state WHERE name = ?", (anchor_name(boot_id),))
            del self._anchors[boot_id]

    # --- a new stream --------------------------------------------------------------------------

    def rebuild(self, cause: str, why: str) -> None:
        """Carry all good records over into a new stream that says ``cause`` and ``why`` first.

        For damage found while running (quarantines the file) and for a refused receipt (does not).
        StoreFull if there is no room for the copy; nothing has changed then.
        """
        seen = Witness(self._base.stream, self._last, self._head)
        try:
            self._rebuild(cause, why, seen, damaged=cause == "outbox_damaged")
            self.write_witness()
        except OSError as error:
            self.failed = True
            raise StoreFailed(f"{self._directory}: {error}") from error

    def _rebuild(self, cause: str, why: str, seen: Witness | None, damaged: bool) -> None:
        log.error("outbox: %s; a new stream begins", why)
        if damaged:
            self._counters.store_damaged += 1
        work = Rebuild(
            self._path, self._gateway, self._clock, self._counters, self._max_bytes, cause, why
        )
        if self._connection is None and self._path.exists():
            # Its settings could not be made; what is in it may still be readable.
            self._connection = sqlite3.connect(
                self._path, isolation_level=None, check_same_thread=False, timeout=0
            )
        work.copy(self._connection, seen)
        if self._connection is not None:
            try:
                self._connection.close()
            except sqlite3.Error as error:
                log.warning("closing the old outbox: %s", error)
            self._connection = None
        work.swap(damaged)
        self._connection = database.connect(self._path, self._max_bytes)
        self._load()
        self._counters.streams_opened += 1
