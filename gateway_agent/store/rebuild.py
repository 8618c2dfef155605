"""A new outbox file from what is good in an old one: a new stream that says why it began.

The old file is only read. The new one is written whole beside it, made durable, and takes its name
in the last step; dying anywhere in between leaves the old one or both, never neither.
"""

import logging
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from gateway_agent.clock import Clock
from gateway_agent.counters import Counters
from protocols.uplink.fields import MAX_U32
from protocols.uplink.record import MAX_DETAIL_LENGTH, Gap, Record

from . import database, witness
from .group import INSERT, row_of
from .salvage import Kept, Missing, good_records, quarantine
from .state import BASE, Base, new_stream, own_gap
from .witness import Witness

log = logging.getLogger(__name__)

MAX_GAPS: Final = 100  # told one by one; more damage than that is told as a number of ranges


class Rebuild:
    """One rebuild of the outbox ``path`` for the reason ``cause`` (a gap cause) and ``why``."""

    def __init__(
        self,
        path: Path,
        gateway: str,
        clock: Clock,
        counters: Counters,
        max_bytes: int,
        cause: str,
        why: str,
    ) -> None:
        self._path = path
        self._new = path.with_suffix(".new")
        self._gateway = gateway
        self._clock = clock
        self._counters = counters
        self._max_bytes = max_bytes
        self._cause = cause
        self._why = why

    def copy(self, source: sqlite3.Connection | None, seen: Witness | None) -> None:
        """Write the new file. ``seen`` is what is known to have been written, from elsewhere.

        ``source`` is None when nothing of the old file can be read. StoreFull if there is no room:
        then nothing has changed, and the next attempt begins anew.
        """
        state: dict[str, bytes] = {}
        if source is not None:
            try:
                state, _ = database.read_state(source)
            except sqlite3.Error as error:
                log.warning("outbox: marks and anchors cannot be read: %s", error)
        old = Base.unpack(state[BASE]) if BASE in state else None
        if old is None:
            # Without the receipted position everything that is still there is taken over; the
            # collector recognises what it has by its bytes.
            stream, receipted_to = (seen.stream if seen is not None else 0), 0
        else:
            stream, receipted_to = old.stream, old.to
        end = seen.last if seen is not None and seen.stream == stream else 0
        begin = receipted_to + 1 if old is not None else None
        for name in files_of(self._new):
            name.unlink(missing_ok=True)
        connection = database.connect(self._new, self._max_bytes)
        try:
            base = new_stream(max(stream, seen.stream if seen is not None else 0))
            with database.transaction(connection):
                for name_, value in state.items():
                    if name_ != BASE:
                        database.put_state(connection, name_, value)
                database.put_state(connection, BASE, base.pack())
            pieces = self._pieces(source, begin, end)
            self._write(connection, base, stream, pieces)
        finally:
            connection.close()

    def _pieces(
        self, source: sqlite3.Connection | None, begin: int | None, end: int
    ) -> Iterable[Kept | Missing]:
        if source is not None:
            return good_records(source, begin, end, self._why)
        if begin is None:
            # How much of it was receipted died with the file: the range cannot be named.
            return ()
        return (Missing(begin, end, self._why),) if end >= begin else ()

    def _write(
        self,
        connection: sqlite3.Connection,
        base: Base,
        old_stream: int,
        pieces: Iterable[Kept | Missing],
    ) -> None:
        last, head, gaps = base.to, base.head, 0

        def add(boot_id: bytes, records: Sequence[Record]) -> None:
            nonlocal last, head
            row = row_of(last + 1, boot_id, head, records)
            with database.transaction(connection):
                connection.execute(INSERT, row)
            last, head = last + len(records), row[3]

        for piece in pieces:
            if isinstance(piece, Kept):
                add(piece.boot_id, piece.records)
                self._counters.records_salvaged += len(piece.records)
                continue
            gaps += 1
            if gaps <= MAX_GAPS:
                add(self._clock.boot_id, [self._gap(old_stream, piece)])
        if not gaps or gaps > MAX_GAPS:
            why = f"{gaps - MAX_GAPS} more ranges" if gaps else self._why
            add(self._clock.boot_id, [self._gap(old_stream, Missing(0, 0, why))])

    def _gap(self, stream: int, missing: Missing) -> Record:
        where = f"outbox stream {stream}"
        first: int | None = None
        last: int | None = None
        if missing.first:
            where += f" records {missing.first} to {missing.last}"
            if missing.last <= MAX_U32:  # as wide as the field in the record is
                first, last = missing.first, missing.last
        detail = f"{where}: {missing.why}"[:MAX_DETAIL_LENGTH]
        self._counters.gaps[self._cause] += 1
        return own_gap(self._gateway, self._clock, Gap(self._cause, None, first, last, detail))

    def swap(self, quarantined: bool) -> None:
        """Put the new file in the old one's place, which goes into quarantine or is removed."""
        self._new.replace(_ready(self._path))
        witness.sync_directory(self._path.parent)
        _retire(self._path, self._cause if quarantined else "")
        finish(self._path)


def finish(path: Path) -> None:
    """The last step of :meth:`Rebuild.swap`; at every start, for one that died in the middle."""
    ready = _ready(path)
    if ready.exists():
        _retire(path, "interrupted")
        ready.replace(path)
        witness.sync_directory(path.parent)


def files_of(path: Path) -> list[Path]:
    """The database file and what SQLite puts beside it."""
    return [path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm")]


def _ready(path: Path) -> Path:
    return path.with_suffix(".ready")


def _retire(path: Path, label: str) -> None:
    old = [file for file in files_of(path) if file.exists()]
    if not label:
        for file in old:
            file.unlink()
    elif old:
        log.warning("outbox: the old files are in %s", quarantine(path.parent, old, label))
