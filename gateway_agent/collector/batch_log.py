"""Keep the batches as they were received, in one chain, and find a database that went back.

SQLite cannot notice that it lost its end, or that it was replaced by an older copy. So the newest
head of the chain over all batches is repeated in a file beside the database, as the outbox has it.
A database that ends before it went back: the gateways name what is missing (see
:mod:`gateway_agent.uplink.receipts`), and here it is an alarm.
"""

import logging
import secrets
import sqlite3
from pathlib import Path
from typing import Final

from gateway_agent.clock import GatewayClock
from gateway_agent.store import head_file
from gateway_agent.store.errors import StoreDamaged
from gateway_agent.store.head_file import ChainHead, HeadFile
from gateway_agent.store.settings import HEAD_LAG_MS
from protocols.uplink import CLOCK_NAMES, GENESIS, BatchHeader, link

from .missing import MissingRecords

log = logging.getLogger(__name__)

WENT_BACK: Final = "database_went_back"  # counter: starts that found it so


def head_path(database: Path) -> Path:
    """Return the path of the file that repeats where the evidence of a database ends."""
    return database.with_suffix(".head")


def new_id() -> int:
    """Return the id of a new database; no other one has it."""
    return secrets.randbits(62) + 1


class BatchLog:
    """The table ``batches`` and its head file. ``head`` is that of the last committed batch."""

    def __init__(self, connection: sqlite3.Connection, path: Path, clock: GatewayClock) -> None:
        self._db = connection
        self._path = path
        self._file = HeadFile(head_path(path), HEAD_LAG_MS, clock)
        self.head = read_head(connection)

    def went_back(self) -> str:
        """Compare with the head file; return why this is not the database that was written."""
        try:
            seen = head_file.read(self._file.path)
        except StoreDamaged as error:
            log.warning("%s; it is written anew", error)
            return ""
        return problem_of(self._db, self.head, seen)

    def add(self, stream_id: int, header: BatchHeader, data: bytes) -> ChainHead:
        """Store a batch, inside the caller's transaction; call :meth:`follow` after it."""
        anchor = header.anchor
        head = ChainHead(self.head.stream, self.head.last + 1, link(self.head.head, data))
        offset = None if anchor.wall_ms is None else anchor.wall_ms - anchor.mono_ms
        self._db.execute(
            "INSERT INTO batches VALUES (?,?,?,?,?,?,?,?,?,?,?)",
            (
                head.last, stream_id, header.first, header.last, header.head, anchor.boot_id,
                offset, anchor.unc_ms, CLOCK_NAMES[anchor.clock_state], head.head, data,
            ),
        )  # fmt: skip
        return head

    def add_missing(self, stream_id: int, missing: MissingRecords) -> ChainHead:
        """Store a statement in the place of batches, as :meth:`add` stores one."""
        chain = link(self.head.head, missing.pack())
        head = ChainHead(self.head.stream, self.head.last + 1, chain)
        self._db.execute(
            "INSERT INTO batches VALUES (?,?,?,?,?,?,?,?,?,?,?)",
            missing.batch_row(head.last, stream_id, chain),
        )
        return head

    def follow(self, head: ChainHead) -> None:
        """Note that ``head`` is committed; the file may lag behind it for HEAD_LAG_MS."""
        self.head = head
        self._file.follow(head)

    @property
    def is_behind(self) -> bool:
        """Return whether a commit is newer than the head file."""
        return self._file.behind

    def write_head_file(self) -> None:
        """Bring the head file up to the last commit. StoreFailed if the medium refuses."""
        self._file.write(self.head)


def read_head(connection: sqlite3.Connection) -> ChainHead:
    """Return where the evidence of a database ends."""
    (identity,) = connection.execute("SELECT id FROM database").fetchone()
    row = connection.execute(
        "SELECT number, chain FROM batches ORDER BY number DESC LIMIT 1"
    ).fetchone()
    number, chain = row or (0, GENESIS)
    return ChainHead(identity, number, chain)


def problem_of(connection: sqlite3.Connection, here: ChainHead, seen: ChainHead | None) -> str:
    """Return why the database does not go on from where its head file saw it; "" if it does."""
    if seen is None:
        return ""
    if seen.stream != here.stream:
        return (
            "it is another database than the one that was here: a new one, or one copied from"
            " elsewhere"
        )
    if seen.last > here.last:
        return (
            f"it ends at batch {here.last}, and {seen.last} were written: it was restored from an"
            " older copy, or lost its end"
        )
    row = connection.execute(
        "SELECT chain FROM batches WHERE number = ?", (seen.last,)
    ).fetchone() or (GENESIS,)
    if row[0] != seen.head:
        return f"its evidence up to batch {seen.last} is not what was written"
    return ""
