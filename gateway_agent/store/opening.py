"""A start reads and checks the whole outbox once, before anything is appended or sent."""

import logging
import sqlite3
from typing import Final

from . import database, head_file
from .errors import StoreDamaged
from .head_file import ChainHead
from .loading import load
from .rebuild import Rebuild, finish
from .salvage import quarantine
from .settings import StoreContext
from .state import BASE, OutboxState, new_stream

log = logging.getLogger(__name__)

_HEAD_FILE_LABEL: Final = "witness"  # in the quarantine folder's name since the first release


class TruncatedError(StoreDamaged):
    """The end of the chain is missing."""


def open_database(context: StoreContext) -> tuple[sqlite3.Connection, OutboxState]:
    """Open the database and read it whole; begin it if there is none, rebuild it if it is damaged.

    StoreFull if that needs room that is not there; StoreFailed, or OSError of the file system.
    """
    path, max_bytes = context.settings.database_path, context.settings.max_bytes
    seen = _read_head_file(context)
    finish(path)
    fresh = not path.exists()
    connection: sqlite3.Connection | None = None
    try:
        try:
            if fresh and seen is not None:
                raise StoreDamaged("the database is gone, its head file is still here")
            connection = database.connect(path, max_bytes)
            if fresh or (seen is None and _is_empty(connection)):
                return connection, _begin(connection)
            state = load(connection)
            compare(state, seen)
        except StoreDamaged as damage:
            truncated = fresh or isinstance(damage, TruncatedError)
            cause = "db_truncated" if truncated else "outbox_damaged"
            connection = Rebuild(context, cause, str(damage), damaged=True).run(connection, seen)
            state = load(connection)
    except BaseException:
        if connection is not None:
            database.close(connection)
        raise
    return connection, state


def _read_head_file(context: StoreContext) -> ChainHead | None:
    path = context.settings.head_path
    try:
        return head_file.read(path)
    except StoreDamaged as error:
        # The chain in the database still proves itself. Only a missing end can no longer be seen
        # here; the collector's next receipt shows it.
        log.warning("%s; it goes into quarantine", error)
        context.counters.store_damaged += 1
        quarantine(path.parent, [path], _HEAD_FILE_LABEL)
        return None


def _is_empty(connection: sqlite3.Connection) -> bool:
    """Check whether nothing was ever written, as after a process that ended while it began."""
    with database.proving():
        (rows,) = connection.execute(
            "SELECT (SELECT count(*) FROM state) + (SELECT count(*) FROM groups)"
        ).fetchone()
    return not rows


def _begin(connection: sqlite3.Connection) -> OutboxState:
    """Begin the first stream of a new file."""
    base = new_stream(0)
    with database.transaction(connection):
        database.put_state(connection, BASE, base.pack())
    return OutboxState(base, base.to, base.head)


def compare(state: OutboxState, seen: ChainHead | None) -> None:
    """Compare the database with its head file; TruncatedError, or StoreDamaged for another chain.

    None stands for a head file that is absent: there is nothing to compare with.
    """
    if seen is None:
        return
    stream = state.base.stream
    if seen.stream != stream:
        if seen.stream >> 32 > stream >> 32:
            raise TruncatedError(
                f"the head file names stream {seen.stream}, the database holds stream {stream}"
            )
        return  # the process ended between the rename of a rebuild and its head file
    if state.last < seen.last:
        raise TruncatedError(
            f"the database ends at record {state.last}, {seen.last} were written: truncated"
        )
    if state.last == seen.last and state.head != seen.head:
        raise StoreDamaged(
            f"the chain ends at record {seen.last} with another head than the head file has"
        )
