"""Open the outbox's SQLite file so that a commit is durable, and sort SQLite's errors by remedy."""

import hashlib
import logging
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from . import group_table
from .errors import StoreBusy, StoreDamaged, StoreError, StoreFailed, StoreFull, file_error
from .medium import path_of, reason_of

log = logging.getLogger(__name__)

APPLICATION_ID: Final = 0x5446_4F42  # "TFOB"
SCHEMA_VERSION: Final = 1
PAGE_BYTES: Final = 4096
LOG_BYTES: Final = 512 * 1024  # from this size on the log is moved into the file and used anew
_STATE: Final = (
    "CREATE TABLE state (name TEXT PRIMARY KEY, value BLOB NOT NULL, seal BLOB NOT NULL)"
    " WITHOUT ROWID"
)
_TABLES: Final = [("groups", 2, group_table.SCHEMA), ("state", 3, _STATE)]  # with their root pages
_NO_DAMAGE: Final = frozenset(
    {
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_AUTH,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_NOLFS,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_MISUSE,
    }
)


def explain(error: sqlite3.Error, path: Path | None = None) -> StoreError:
    """Return the StoreError an SQLite error stands for; an unknown one is a StoreFailed.

    ``path``: of the database, if it was to be opened or written. Then the file system is asked.
    """
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    text = f"SQLite: {error} ({getattr(error, 'sqlite_errorname', 'no code')})"
    refused = reason_of(error, path) if path is not None else None
    if refused is not None:
        reason = file_error(text, refused)
        reason.__cause__ = refused
        return reason
    if code == sqlite3.SQLITE_FULL:
        return StoreFull(text)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreDamaged(text)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreBusy(text)
    return StoreFailed(text)


@contextmanager
def explained(path: Path | None = None) -> Iterator[None]:
    """Raise SQLite's errors inside the block as StoreErrors; ``path`` as for :func:`explain`."""
    try:
        yield
    except sqlite3.Error as error:
        reason = explain(error, path)
        raise reason from reason.__cause__ or error


@contextmanager
def proving(path: Path | None = None) -> Iterator[None]:
    """Raise SQLite's errors while a file is opened and proved: what is no fault of the medium,
    of its room or of another process can only be the file's content, which is StoreDamaged.
    ``path`` as for :func:`explain`.
    """
    try:
        yield
    except sqlite3.Error as error:
        reason = explain(error, path)
        code = getattr(error, "sqlite_errorcode", 0)
        # connect() has opened the file for writing. So a plain SQLITE_READONLY, without a finer
        # code, is what the file's header says of itself.
        content = code == sqlite3.SQLITE_READONLY or code & 0xFF not in _NO_DAMAGE
        if type(reason) is StoreFailed and reason.__cause__ is None and content:
            reason = StoreDamaged(str(reason))
        raise reason from reason.__cause__ or error
    except UnicodeDecodeError as error:
        raise StoreDamaged(f"SQLite: a message with damaged text: {error.object!r}") from error


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Make the block one commit: durable when it is left, rolled back if SQLite fails in it."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error as second:
            # SQLite could not restore what it holds of the file.
            failed = f"{explain(error)}; then the rollback failed: {second}"
            raise StoreFailed(failed) from error
        reason = explain(error, path_of(connection))
        raise reason from reason.__cause__ or error


def connect(path: Path, max_bytes: int) -> sqlite3.Connection:
    """Open or create the file and read back every setting that durability depends on.

    The connection belongs to one thread at a time. StoreFailed if WAL or FULL is not in force;
    StoreDamaged if the first page is not what was written, so that nothing can be read by it.
    """
    # SQLite would make the file readable by others, and its log takes the file's mode.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    # The file is not shared with other processes. So SQLite maps no shared memory beside it, which
    # a full disk could take away (SIGBUS).
    with proving(path):
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0)
    try:
        with proving(path):
            _configure(connection, path, max_bytes)
            _check_first_page(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def settle(connection: sqlite3.Connection) -> None:
    """Move the whole log into the main file, durably; the main file alone holds everything then.

    StoreFull: no room for that. Closing moves the log too, but reports no failure to do so.
    """
    with explained(path_of(connection)):
        busy, pages, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy or pages:
        raise StoreFailed(f"expected a log of 0 pages after a checkpoint, got {pages} ({busy=})")


def close(connection: sqlite3.Connection) -> None:
    """Close; an error is logged only, as nothing depends on it."""
    try:
        connection.close()
    except sqlite3.Error as error:
        log.warning("closing the outbox: %s", error)


def _configure(connection: sqlite3.Connection, path: Path, max_bytes: int) -> None:
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    connection.execute("PRAGMA locking_mode = EXCLUSIVE").fetchone()
    # SQLite reports an error while switching only when the answer is fetched.
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    connection.execute("PRAGMA synchronous = FULL")
    (level,) = connection.execute("PRAGMA synchronous").fetchone()
    if mode != "wal" or level != 2:
        raise StoreFailed(
            f"{path}: expected journal_mode wal and synchronous 2, got {mode}, {level}"
        )
    connection.execute("PRAGMA cell_size_check = ON")
    connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_BYTES // PAGE_BYTES}").fetchone()
    connection.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}").fetchone()
    limit_size(connection, max_bytes)
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 0:
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if tables:
            raise StoreDamaged(f"{path}: expected schema version {SCHEMA_VERSION}, got none")
        with transaction(connection):
            connection.execute(group_table.SCHEMA)
            connection.execute(_STATE)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    elif version != SCHEMA_VERSION:
        # A flipped bit in the version looks the same, so a newer file is not refused.
        newer = "; a newer release wrote it" if version > SCHEMA_VERSION else ""
        raise StoreDamaged(
            f"{path}: expected schema version {SCHEMA_VERSION}, got {version}{newer}; records that"
            " this release can read go on"
        )


def _check_first_page(connection: sqlite3.Connection, path: Path) -> None:
    """Check what SQLite believes of the first page unseen; StoreDamaged if it is not ours."""
    connection.execute("BEGIN")  # a damaged header can forbid writing
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("ROLLBACK")
    tables = connection.execute("SELECT name, rootpage, sql FROM sqlite_schema").fetchall()
    if tables != _TABLES:
        raise StoreDamaged(f"{path}: expected the tables {_TABLES}, got {tables}")
    # Of this table SQLite also checks the list of free pages; it reads no other table.
    (fault,) = connection.execute("PRAGMA integrity_check(sqlite_schema)").fetchone()
    (vacuum,) = connection.execute("PRAGMA auto_vacuum").fetchone()
    if fault != "ok" or vacuum:
        raise StoreDamaged(f"{path}: expected a whole first page, got {fault!r} ({vacuum=})")
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    log_file = path.with_name(f"{path.name}-wal")
    logged = log_file.exists() and log_file.stat().st_size
    if not logged and path.stat().st_size > pages * PAGE_BYTES:
        raise StoreDamaged(f"{path}: expected {pages} pages, got {path.stat().st_size} bytes")


def limit_size(connection: sqlite3.Connection, max_bytes: int) -> None:
    """Let SQLite itself refuse (SQLITE_FULL) what would make the file larger than ``max_bytes``.

    Less than it has now means that it may not grow.
    """
    connection.execute(f"PRAGMA max_page_count = {max(16, max_bytes // PAGE_BYTES)}").fetchone()


def _seal(name: str, value: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"|" + value).digest()[:16]


def put_state(connection: sqlite3.Connection, name: str, value: bytes) -> None:
    """Write one sealed value (inside the caller's transaction)."""
    put_states(connection, [(name, value)])


def put_states(connection: sqlite3.Connection, rows: Iterable[tuple[str, bytes]]) -> None:
    """Write sealed values by name (inside the caller's transaction)."""
    connection.executemany(
        "INSERT INTO state VALUES (?1, ?2, ?3)"
        " ON CONFLICT (name) DO UPDATE SET value = ?2, seal = ?3",
        [(name, value, _seal(name, value)) for name, value in rows],
    )


def delete_state(connection: sqlite3.Connection, name: str) -> None:
    """Delete one sealed value (inside the caller's transaction)."""
    connection.execute("DELETE FROM state WHERE name = ?", (name,))


def read_state(connection: sqlite3.Connection) -> tuple[dict[str, bytes], list[str]]:
    """Read all sealed values, and the names of those that are not what was written."""
    good: dict[str, bytes] = {}
    bad: list[str] = []
    for name, value, sealed in connection.execute("SELECT name, value, seal FROM state"):
        if isinstance(name, str) and isinstance(value, bytes) and sealed == _seal(name, value):
            good[name] = value
        else:
            bad.append(str(name))
    return good, bad
