"""The outbox keeps every record from its commit to the collector's receipt, in one hash chain.

Promises, each with a test:

* a record is on the medium when :meth:`Outbox.append` has returned (WAL, synchronous = FULL);
* ``h(n) = SHA-256(h(n-1) || record(n))``; the sequence number is the position in the chain and is
  never used twice, because a new stream (a new chain from GENESIS) gets an id that was never used;
* what is pruned is covered by a receipt whose head equals ours, and every exporter that must have
  it has passed it, or has it named as lost (:mod:`.exports`);
* damage (flipped bits, a truncated log, a lost file) is found before anything is sent. The damaged
  files go into ``quarantine/``, the good records into a new stream, and a GAP record names what is
  missing and why. Nobody has to delete a file.

Everything here is synchronous and belongs to one thread; :mod:`.writer` is its asyncio front. The
steps stand beside it: :mod:`.opening` checks, :mod:`.window` selects, :mod:`.pruning` deletes,
:mod:`.rebuild` repairs.
"""

import logging
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from protocols.uplink import Anchor, Receipt, Record

from . import database, group_table, opening, pruning
from .errors import StoreDamaged, StoreFailed, StoreFull, file_error
from .exports import PREFIX, Cursor
from .group import row_of, split
from .head_file import HeadFile
from .loading import load
from .lock import Lock
from .mark import Mark
from .pruning import Pruned
from .rebuild import Rebuild
from .reserve import Reserve
from .retention import Keep, expired_to
from .salvage import MissingRange
from .settings import StoreContext
from .state import Base, OutboxState, anchor_now, anchor_row, mark_row, newer_anchor
from .window import Limits, Slice, take

log = logging.getLogger(__name__)


class Stats(NamedTuple):
    """``depth`` records wait for a receipt; ``file_bytes`` of ``max_bytes`` are allocated.

    ``unaccounted``: records that were put in since the file was read and are neither receipted nor
    among those that wait (below 0: too many are).
    """

    stream: int
    last: int
    receipted_to: int
    depth: int
    file_bytes: int
    max_bytes: int
    unaccounted: int = 0
    head: bytes = b""  # of the chain, with the newest record


class Outbox:
    """Open with :meth:`open`, close with :meth:`close`."""

    def __init__(
        self,
        context: StoreContext,
        connection: sqlite3.Connection,
        state: OutboxState,
        lock: Lock | None,
    ) -> None:
        """Take over what :meth:`open` has opened and read; ``lock`` if it is to be released."""
        settings, clock = context.settings, context.clock
        self.context = context
        self._reserve = Reserve(settings.reserve_path, clock)
        self._may_grow = True
        self.failed = False
        self._connection = connection
        self._state = state
        self._came = state.last - state.base.to  # records since the file was read whole
        self._went = 0
        self._required: frozenset[str] = frozenset()  # exporters that records are kept for
        self._lock = lock
        self._head_file = HeadFile(settings.head_path, settings.head_lag_ms, clock)

    # --- opening and closing -------------------------------------------------------------------

    @classmethod
    def open(cls, context: StoreContext, lock: Lock | None = None) -> "Outbox":
        """Open, check and, if need be, repair.

        ``lock``: the directory's, if the caller has it (and keeps it until the outbox is closed).
        StoreBusy, StoreFailed, or StoreFull: a repair or a new file needs room, try again later.
        """
        directory = context.settings.directory
        with ExitStack() as undo:
            own = undo.enter_context(Lock(directory)) if lock is None else None
            try:
                connection, state = _opened(context)
                undo.callback(database.close, connection)
                box = cls(context, connection, state, own)
                box.write_head_file()
                box.keep_reserve()
            except OSError as error:
                raise file_error(directory, error) from error
            undo.pop_all()
        return box

    def close(self) -> None:
        """Bring the head file up to date and release everything; the files stay as they are."""
        try:
            if not self.failed and self.head_file_behind:
                self.write_head_file()
        finally:
            database.close(self._connection)
            if self._lock is not None:
                self._lock.release()

    # --- the connection, refused after a failure -----------------------------------------------

    @property
    def _db(self) -> sqlite3.Connection:
        if self.failed:
            raise StoreFailed("a write failed before; this process may not write again")
        return self._connection

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Refuse all further work of this object when the block ends in StoreFailed."""
        try:
            yield
        except StoreFailed:
            self.failed = True
            raise

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._guarded(), database.explained():
            yield self._db

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        connection = self._db
        try:
            with database.transaction(connection):
                yield connection
        except StoreFailed:
            self.failed = True
            raise

    # --- appending -----------------------------------------------------------------------------

    def append(self, records: Sequence[Record], marks: Mapping[str, Mark]) -> int:
        """Make ``records`` and ``marks`` durable in one commit; return the last sequence number.

        Either all of it is on the medium when this returns, or nothing is: StoreFull (try again
        when there is space), StoreFailed (this object refuses everything from then on).
        """
        try:
            try:
                return self._append(records, marks)
            except StoreFull:
                if not self._give_room():
                    raise
                return self._append(records, marks)
        except StoreFull:
            self._settle()  # what the log takes may be all the room that is missing
            raise

    def _append(self, records: Sequence[Record], marks: Mapping[str, Mark]) -> int:
        state, clock, counters = self._state, self.context.clock, self.context.counters
        boot_id = clock.boot_id
        last, head = state.last, state.head
        rows = []
        for run in split(records):
            row = row_of(last + 1, boot_id, head, run)
            rows.append(row)
            last, head = last + len(run), row[3]
        anchor = newer_anchor(clock, state.anchors.get(boot_id))
        with self._writing() as connection:
            group_table.insert(connection, rows)
            if marks:
                database.put_states(connection, map(mark_row, marks, marks.values()))
            if anchor is not None:
                database.put_state(connection, *anchor_row(anchor))
        state.last, state.head = last, head
        if anchor is not None:
            state.anchors[boot_id] = anchor
        state.marks.update(marks)
        counters.commits += 1
        counters.records_recorded += len(records)
        self._came += len(records)
        counters.readings_recorded += sum(record.readings for record in records)
        with self._guarded():
            self._head_file.follow(state.chain_head)
        return last

    @property
    def head_file_behind(self) -> bool:
        """Return whether a commit is newer than the head file."""
        return self._head_file.behind

    def write_head_file(self) -> None:
        """Bring the head file up to the last commit; call it within ``head_lag_ms`` of a commit.

        A full disk is tolerated; StoreFailed after any other error.
        """
        with self._guarded():
            self._head_file.write(self._state.chain_head)

    # --- reading -------------------------------------------------------------------------------

    def marks(self) -> dict[str, Mark]:
        """Return how far each node's records have been committed, by device id."""
        return dict(self._state.marks)

    def anchor_of(self, boot_id: bytes) -> Anchor | None:
        """Return the stored anchor of a boot, None if there is none."""
        return self._state.anchors.get(boot_id)

    def stats(self) -> Stats:
        """Return where the chain, the receipts and the file stand."""
        with database.explained():
            (pages,) = self._db.execute("PRAGMA page_count").fetchone()
        base, last = self._state.base, self._state.last
        return Stats(
            base.stream,
            last,
            base.to,
            last - base.to,
            pages * database.PAGE_BYTES,
            self.context.settings.max_bytes,
            self._came - self._went - (last - base.to),
            self._state.head,
        )

    def slice(self, after: int, max_records: int, max_bytes: int) -> Slice | None:
        """Read up to ``max_records`` records of one boot after sequence number ``after``.

        At least one record if there is any, whatever its size; None if there is none. ``after``
        below what is receipted means from there on. Everything that is returned has just been
        checked against the chain: StoreDamaged if it does not fit (then call :meth:`rebuild`).
        """
        return self._slice(max(after, self._state.base.to), max_records, max_bytes)

    def kept_slice(self, after: int, max_records: int, max_bytes: int) -> Slice | None:
        """Read as :meth:`slice`, what is kept below the receipted position too."""
        return self._slice(max(after, self._state.gone_to), max_records, max_bytes)

    def _slice(self, after: int, max_records: int, max_bytes: int) -> Slice | None:
        base = self._state.base
        if after >= self._state.last:
            return None
        with self._reading() as connection:
            groups = group_table.groups_from(connection, after + 1)
            window = take(groups, after, Limits(max_records, max_bytes))
        if window is None or (after == base.to and window.prev != base.head):
            raise StoreDamaged(f"the group of record {after + 1} is missing")
        return Slice(
            base.stream,
            after + 1,
            after + len(window.records),
            window.prev,
            window.head,
            window.records,
            self._anchor_of(window.boot_id),
            self._state.earlier if after == 0 else (),
        )

    def _anchor_of(self, boot_id: bytes) -> Anchor:
        if boot_id == self.context.clock.boot_id:
            return anchor_now(self.context.clock)
        return self._state.anchors.get(boot_id) or Anchor(boot_id, 0, None, 0, 0)

    def copy_to(self, path: Path) -> Stats:
        """Write a copy of the database, as it is now; return what is in it.

        StoreFull: it cannot be written.

        What happens to the copy is no failure of the outbox.
        """
        try:
            path.unlink(missing_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            with closing(sqlite3.connect(path, isolation_level=None)) as copy:
                self._db.backup(copy)
                copy.execute("PRAGMA journal_mode = DELETE")
        except (OSError, sqlite3.Error) as error:
            with suppress(OSError):
                path.unlink(missing_ok=True)
            raise StoreFull(f"{path}: no copy was made: {error}") from error
        return self.stats()

    # --- receipts ------------------------------------------------------------------------------

    def apply_receipt(self, receipt: Receipt) -> Pruned:
        """Delete what a receipt covers; the caller has verified its signature and its gateway.

        ReceiptRefused if it names our stream but does not fit our chain; nothing is pruned then.
        A receipt of a stream that no longer exists, or with nothing new, prunes nothing.
        """
        return self.release(receipt.stream, receipt.contiguous_to, receipt.head)

    def release(self, stream: int, to: int, head: bytes) -> Pruned:
        """Delete everything up to record ``to``; without a receipt, as PUBACK mode does it.

        It behaves as :meth:`apply_receipt` in everything else.
        """
        base = self._state.base
        if stream != base.stream or to < base.to:
            return Pruned(0, 0)
        with self._reading() as connection:
            found = pruning.checked(connection, self._state, to, head)
        if not found.records:
            return Pruned(0, 0)
        self._move_with_base(Base(stream, to, head), {})
        self.context.counters.records_delivered += found.records
        self._went += found.records
        self.context.counters.readings_delivered += found.readings
        return Pruned(found.records, found.readings)

    def _prune(self, base: Base, moved: Mapping[str, Cursor]) -> None:
        """Store ``base`` and the cursors ``moved``, and delete what nobody needs any more."""
        state = self._state
        cursors = {**state.cursors, **moved}
        gone_to = min([base.to, *(cursors[name].to for name in self._required)])
        lost = [name for name, cursor in cursors.items() if cursor.to < gone_to]  # not required
        moved = {
            **moved,
            **{name: cursors[name].given_up(gone_to, "not_required") for name in lost},
        }
        others = [boot_id for boot_id in state.anchors if boot_id != self.context.clock.boot_id]
        with self._writing() as connection:
            if moved:
                database.put_states(connection, [moved[name].row(name) for name in moved])
            if gone_to > state.gone_to or base != state.base:
                gone = pruning.prune(connection, base, gone_to, state.last, others)
            else:
                gone = []
        state.base, state.gone_to = base, max(gone_to, state.gone_to)
        state.cursors.update(moved)
        for boot_id in gone:
            del state.anchors[boot_id]

    # --- exporters -----------------------------------------------------------------------------

    @property
    def cursors(self) -> dict[str, Cursor]:
        """Return how far each exporter has come, by name."""
        return dict(self._state.cursors)

    def attach(self, names: Iterable[str], required: Iterable[str]) -> None:
        """Keep a cursor for each of ``names``, and records for those that are ``required``.

        A new one begins with what has no receipt yet. Cursors of other names are deleted.
        """
        state, wanted = self._state, list(names)
        needed = frozenset(required)
        self._required = needed & state.cursors.keys()  # until the others have a cursor
        begin = Cursor(state.base.stream, state.base.to)
        added = {name: begin for name in wanted if name not in state.cursors}
        dropped = state.cursors.keys() - set(wanted)

        def write() -> None:
            with self._writing() as connection:
                for name in dropped:
                    database.delete_state(connection, PREFIX + name)
                database.put_states(connection, [added[name].row(name) for name in added])

        if added or dropped:
            self._in_reserve(write)
            for name in dropped:
                del state.cursors[name]
            state.cursors.update(added)
            self._required = needed
            self._move({})

    def advance(self, name: str, stream: int, to: int) -> None:
        """Move the cursor of an exporter to ``to``: its platform has everything up to there."""
        cursor = self._state.cursors[name]
        if cursor.stream == stream and cursor.to < to <= self._state.last:
            self._move({name: cursor.moved(to)})

    def give_up(self, name: str, stream: int, to: int, cause: str) -> None:
        """Move the cursor of an exporter to ``to`` without delivery; the range is named as lost."""
        cursor = self._state.cursors[name]
        if cursor.stream == stream and cursor.to < to <= self._state.last:
            self._move({name: cursor.given_up(to, cause)})

    def expire(self, name: str, keep: Keep) -> None:
        """Give up what is receipted and kept for an exporter for longer, or is more, than ``keep``.

        A call goes a few hundred commits far at the most.
        """
        cursor = self._state.cursors[name]
        with self._reading() as connection:
            found = expired_to(connection, cursor.to, self._state.base.to, keep, self.context.clock)
        if found is not None:
            self._move({name: cursor.given_up(*found)})

    def _move(self, moved: Mapping[str, Cursor]) -> None:
        self._move_with_base(self._state.base, moved)

    def _move_with_base(self, base: Base, moved: Mapping[str, Cursor]) -> None:
        self._in_reserve(lambda: self._prune(base, moved))

    def _in_reserve(self, write: Callable[[], None]) -> None:
        """Write what a full medium has to take too: the reserve is kept for that. StoreFull."""
        try:
            write()
        except StoreFull:
            self._give_reserve()
            self._settle()
            write()

    def _give_room(self) -> bool:
        """Give up the oldest eighth of what is kept for exporters alone; False if nothing is."""
        state = self._state
        kept = state.base.to - state.gone_to
        if kept <= 0 or not self._required:
            return False
        to = state.gone_to + -(-kept // 8)
        moved = {name: state.cursors[name].given_up(to, "room") for name in self._required}
        self._move({name: cursor for name, cursor in moved.items() if cursor.to == to})
        return True

    # --- room ----------------------------------------------------------------------------------

    def keep_reserve(self, at_once: bool = False) -> None:
        """Keep room for a receipt; ``at_once`` instead of now and then.

        Without it the file may not grow: what it has inside is used again, and the room that is
        left stays for the log, without which nothing could be deleted.
        """
        self._let_grow(self._reserve.keep(at_once))

    def _give_reserve(self) -> None:
        self._reserve.give()
        self._let_grow(False)

    def _let_grow(self, allowed: bool) -> None:
        if allowed != self._may_grow:
            self._may_grow = allowed
            with database.explained():
                limit = self.context.settings.max_bytes if allowed else 0
                database.limit_size(self._connection, limit)

    def _settle(self) -> None:
        """Move the log into the file, if there is room for that, and free the log's own."""
        with self._guarded(), suppress(StoreFull):
            database.settle(self._connection)

    # --- a new stream --------------------------------------------------------------------------

    def rebuild(
        self, cause: str, why: str, lost: MissingRange | None = None, reached: int = 0
    ) -> None:
        """Carry all good records over into a new stream whose GAP record has ``cause`` and ``why``.

        For damage found while running (quarantines the file) and for a refused receipt (does not).
        ``lost``: records that were receipted and that the collector has no more; named as a gap.
        ``reached``: how far a receipt went that was refused.
        StoreFull if there is no room for the copy; nothing has changed then.
        """
        context, seen = self.context, self._state.chain_head
        work = Rebuild(context, cause, why, cause == "outbox_damaged", lost, reached)
        with self._guarded():
            try:
                try:
                    self._connection = work.run(self._connection, seen)
                except StoreFull:
                    self._give_reserve()
                    self._connection = work.run(self._connection, seen)
            except OSError as error:
                raise StoreFailed(f"{context.settings.directory}: {error}") from error
            self._may_grow = True
            self.keep_reserve(at_once=True)
            self._state = load(self._connection)
            self._came, self._went = self._state.last - self._state.base.to, 0
            self._head_file.write(self._state.chain_head)


def _opened(context: StoreContext) -> tuple[sqlite3.Connection, OutboxState]:
    """Open and read the database; a repair that finds no room gets the reserve's."""
    try:
        return opening.open_database(context)
    except StoreFull:
        Reserve(context.settings.reserve_path, context.clock).give()
        return opening.open_database(context)
