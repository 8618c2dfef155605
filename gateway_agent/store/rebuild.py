"""Copy what is good in an outbox into a new file: a new stream with a GAP record of the cause.

The old file is only read. The new one is written whole beside it, made durable, read again and
proved, and takes the old one's name in the last step. A process that ends anywhere in between
leaves the old file or both, never neither.
"""

import logging
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import chain as chained
from pathlib import Path
from typing import Final, NamedTuple

from gateway_agent.directories import sync_directory
from protocols.uplink import MAX_DETAIL_LENGTH, MAX_GAP_NUMBER, EarlierStream, Gap, Record

from . import database, first_page, group_table
from .errors import StoreDamaged, StoreFailed, file_error
from .exports import PREFIX, CarriedCursors, cursors_of
from .first_page import files_of
from .group import row_of
from .head_file import ChainHead
from .loading import load
from .salvage import KeptRange, MissingRange, good_records, quarantine
from .settings import StoreContext
from .state import BASE, EARLIER, Base, earlier_of, new_stream, own_gap, pack_earlier

log = logging.getLogger(__name__)

GAPS_BYTES: Final = 256 * 1024  # what a copy may be larger than the limit, for its GAP records
MAX_GAPS: Final = 100  # ranges that get a GAP record each; of any more only the number is given


class _OldChain(NamedTuple):
    """The stream to carry over: from record ``begin`` (None: not known) to ``end`` at the least."""

    stream: int
    begin: int | None
    end: int


class _NewChain:
    """The new stream while it is written; one commit per group."""

    def __init__(self, connection: sqlite3.Connection, base: Base) -> None:
        self._connection = connection
        self._last, self._head = base.to, base.head

    @property
    def end(self) -> tuple[int, bytes]:
        """Return the number of the last record and the head after it."""
        return self._last, self._head

    def add(self, boot_id: bytes, records: Sequence[Record]) -> None:
        row = row_of(self._last + 1, boot_id, self._head, records)
        with database.transaction(self._connection):
            group_table.insert(self._connection, [row])
        self._last, self._head = self._last + len(records), row[3]


class Rebuild:
    """One rebuild of an outbox for the reason ``cause`` (a gap cause) and ``why``.

    ``damaged`` sends the old files into quarantine; otherwise they are removed. ``lost``: records
    that are gone although a receipt covered them; they get a GAP record too. ``reached``: a refused
    receipt covered records up to this one.
    """

    def __init__(
        self,
        context: StoreContext,
        cause: str,
        why: str,
        damaged: bool,
        lost: MissingRange | None = None,
        reached: int = 0,
    ) -> None:
        self._context = context
        self._damaged = damaged
        self._path = context.settings.database_path
        self._new = self._path.with_suffix(".new")
        self._cause = cause
        self._why = why
        self._reached = reached
        self._lost = () if lost is None else (lost,)
        self._salvaged = 0  # records of the present attempt
        self._gaps = 0  # GAP records of it

    def run(self, source: sqlite3.Connection | None, seen: ChainHead | None) -> sqlite3.Connection:
        """Copy and swap; return the connection to the new file. ``source`` is closed by then.

        ``source``: to the old file, None if it could not be opened. ``seen`` is how far the chain
        had got, known from elsewhere. StoreFull if there is no room: then nothing has changed,
        ``source`` is still open, and the next attempt begins anew.
        """
        log.error("outbox: %s; a new stream begins", self._why)
        self._salvaged = self._gaps = 0
        try:
            if source is None and self._path.exists():
                with first_page.readable(self._path, self._context.settings.max_bytes) as readable:
                    self._copy(readable, seen)
            else:
                self._copy(source, seen)
        except OSError as error:
            raise file_error(self._new, error) from error
        if source is not None:
            database.close(source)
        self._swap()
        counters = self._context.counters
        counters.streams_opened += 1
        counters.store_damaged += self._damaged
        counters.records_salvaged += self._salvaged
        counters.gaps[self._cause] += self._gaps
        return database.connect(self._path, self._context.settings.max_bytes)

    def _copy(self, source: sqlite3.Connection | None, seen: ChainHead | None) -> None:
        state = {} if source is None else _readable_state(source)
        old = _old_chain(state, seen)
        self._remove_new()
        try:
            end = self._write_new(source, old, state, seen)
            self._prove(end)
        except BaseException:
            self._remove_new()  # the old file may need its room to go on
            raise

    def _write_new(
        self,
        source: sqlite3.Connection | None,
        old: _OldChain,
        state: dict[str, bytes],
        seen: ChainHead | None,
    ) -> tuple[int, bytes]:
        # A full outbox must be able to begin a new stream too, or it stays full for good.
        limit = self._context.settings.max_bytes + GAPS_BYTES
        connection = database.connect(self._new, limit)
        try:
            base = new_stream(max(old.stream, seen.stream if seen is not None else 0))
            with database.transaction(connection):
                for name, value in state.items():
                    if name not in (BASE, EARLIER) and not name.startswith(PREFIX):
                        database.put_state(connection, name, value)
                database.put_state(connection, EARLIER, pack_earlier(self._earlier(state)))
                database.put_state(connection, BASE, base.pack())
            chain = _NewChain(connection, base)
            cursors = CarriedCursors(cursors_of(state), old.stream, (old.begin or 1) - 1)
            pieces = chained(self._lost, self._pieces(source, old))
            self._write(chain, old.stream, pieces, cursors)
            with database.transaction(connection):
                database.put_states(connection, cursors.rows(base.stream))
            database.settle(connection)
        finally:
            connection.close()
        return chain.end

    def _earlier(self, state: dict[str, bytes]) -> list[EarlierStream]:
        """Return the streams that the new one's first batch names, the old one as the last.

        A collector that went back again, or is a new one, lacks parts of several of them, and the
        gaps about those with the streams that had them. So each new stream begins with all.
        """
        earlier = [replace(one, named_from=one.to + 1) for one in earlier_of(state)]
        if BASE in state:
            base = Base.unpack(state[BASE])
            to = max(base.to, self._reached)
            named_from = self._lost[0].first if self._lost else to + 1
            if to:
                earlier.append(EarlierStream(base.stream, to, named_from))
        return earlier

    def _prove(self, end: tuple[int, bytes]) -> None:
        """Read the new file as a start would: only the main file takes the old one's name."""
        for beside in files_of(self._new)[1:]:
            beside.unlink(missing_ok=True)
        try:
            with closing(
                database.connect(self._new, self._context.settings.max_bytes)
            ) as connection:
                state = load(connection)
        except StoreDamaged as damage:
            raise StoreFailed(f"{self._new}: the copy is damaged: {damage}") from damage
        if (state.last, state.head) != end:
            raise StoreFailed(
                f"{self._new}: expected the copy to end at record {end[0]}, it ends at {state.last}"
            )

    def _remove_new(self) -> None:
        for file in files_of(self._new):
            file.unlink(missing_ok=True)

    def _pieces(
        self, source: sqlite3.Connection | None, old: _OldChain
    ) -> Iterable[KeptRange | MissingRange]:
        if source is not None:
            return good_records(source, old.begin, old.end, self._why)
        if old.begin is None:
            # How much of it was receipted was lost with the file: the range cannot be named.
            return ()
        return (MissingRange(old.begin, old.end, self._why),) if old.end >= old.begin else ()

    def _write(
        self,
        chain: _NewChain,
        old_stream: int,
        pieces: Iterable[KeptRange | MissingRange],
        cursors: CarriedCursors,
    ) -> None:
        boot_id = self._context.clock.boot_id
        gaps = 0
        for piece in pieces:
            if isinstance(piece, KeptRange):
                cursors.copied(piece.first, len(piece.records), chain.end[0] + 1)
                chain.add(piece.boot_id, piece.records)
                self._salvaged += len(piece.records)
                continue
            gaps += 1
            if gaps <= MAX_GAPS:
                chain.add(boot_id, [self._gap(old_stream, piece)])
        if not gaps or gaps > MAX_GAPS:
            why = f"{gaps - MAX_GAPS} more ranges" if gaps else self._why
            chain.add(boot_id, [self._gap(old_stream, MissingRange(0, 0, why))])

    def _gap(self, stream: int, missing: MissingRange) -> Record:
        where = f"outbox stream {stream}"
        first: int | None = None
        last: int | None = None
        if missing.first:
            where += f" records {missing.first} to {missing.last}"
            if missing.last <= MAX_GAP_NUMBER:
                first, last = missing.first, missing.last
        detail = f"{where}: {missing.why}"[:MAX_DETAIL_LENGTH]
        self._gaps += 1
        return own_gap(
            self._context.settings.gateway,
            self._context.clock,
            Gap(self._cause, None, first, last, detail),
        )

    def _swap(self) -> None:
        """Put the new file in the old one's place."""
        install(self._new, self._path, self._cause if self._damaged else "")


def install(new: Path, path: Path, label: str) -> None:
    """Put the whole and durable file ``new`` in the place of the database at ``path``.

    ``label``: of the old files in quarantine; "" removes them. An end of the process in between
    leaves the old database, or what :meth:`finish` completes.
    """
    make_ready(new, path)
    finish(path, label)


def make_ready(new: Path, path: Path) -> None:
    """Do the first step of :func:`install`: from now on every start completes it."""
    new.replace(_ready(path))
    sync_directory(path.parent)


def finish(path: Path, label: str = "interrupted") -> None:
    """Do the last step of a rebuild; every start repeats it for an interrupted one."""
    ready = _ready(path)
    if ready.exists():
        _retire(path, label)
        ready.replace(path)
        sync_directory(path.parent)


def _readable_state(source: sqlite3.Connection) -> dict[str, bytes]:
    try:
        state, _ = database.read_state(source)
    except sqlite3.Error as error:
        log.warning("outbox: marks and anchors cannot be read: %s", error)
        return {}
    return state


def _old_chain(state: dict[str, bytes], seen: ChainHead | None) -> _OldChain:
    if BASE in state:
        base = Base.unpack(state[BASE])
        stream, begin = base.stream, base.to + 1
    else:
        # Without the receipted position everything that is still there is taken over; the
        # collector recognises what it has by its bytes.
        stream, begin = (seen.stream if seen is not None else 0), None
    end = seen.last if seen is not None and seen.stream == stream else 0
    return _OldChain(stream, begin, end)


def _ready(path: Path) -> Path:
    return path.with_suffix(".ready")


def _retire(path: Path, label: str) -> None:
    old = [file for file in files_of(path) if file.exists()]
    if not label:
        for file in old:
            file.unlink()
    elif old:
        log.warning("%s: the old files are in %s", path.name, quarantine(path.parent, old, label))
