"""Opens the SQLite file in which an exporter keeps state of its own, and brings it up to date."""

import logging
import os
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from gateway_agent.state_file import DAMAGED

log = logging.getLogger(__name__)


class OpenState(NamedTuple):
    """A file that is open; ``is_anew``: a damaged one was set aside, and this one is empty."""

    connection: sqlite3.Connection
    is_anew: bool = False


class _DamagedError(Exception):
    """The file is no database, or not a whole one."""


def open_state(
    path: Path,
    upgrades: Mapping[int, Sequence[str]],
    synchronous: Literal["FULL", "NORMAL"],
    loss: str,
) -> OpenState:
    """Open or make a file of mode 0600, in autocommit, for one thread at a time.

    ``upgrades``: by the version that a file has (0: it is new), the statements that make it one of
    the newest version, which is the highest one there and 1. A damaged file is set aside, which is
    logged with ``loss``, what it costs. OSError: the file cannot be opened.
    """
    try:
        return OpenState(_opened(path, upgrades, synchronous))
    except _DamagedError as error:
        set_aside(path)
        log.error("%s is damaged, see %s%s: %s; %s", path, path.name, DAMAGED, error, loss)
    try:
        return OpenState(_opened(path, upgrades, synchronous), is_anew=True)
    except _DamagedError as error:
        raise OSError(f"{path}: {error}, just after it was made") from error


def set_aside(path: Path) -> None:
    """Move a database away, with the files that SQLite keeps beside it. OSError."""
    for end in ("", "-wal", "-shm"):
        file = path.with_name(path.name + end)
        if file.exists():
            file.replace(path.with_name(path.name + DAMAGED + end))


def _opened(
    path: Path, upgrades: Mapping[int, Sequence[str]], synchronous: str
) -> sqlite3.Connection:
    newest = max(upgrades) + 1
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    try:
        connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {synchronous}")
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise _DamagedError(found)
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version in upgrades:
                connection.execute("BEGIN IMMEDIATE")
                for statement in (*upgrades[version], f"PRAGMA user_version = {newest}"):
                    connection.execute(statement)
                connection.execute("COMMIT")
            elif version != newest:
                raise OSError(
                    f"{path}: expected version {newest}, got {version}: a newer program has"
                    " written it; install that one again"
                )
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise _DamagedError(error) from error
        raise OSError(f"{path}: {error}") from error
    return connection
