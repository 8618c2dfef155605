"""Ask the medium why it refuses: SQLite's error has no errno, and which it was decides what to do.

A quota and the limit of open files are no room, as a full disk is; a read-only file system has a
remedy of its own. After a failed fsync nothing is asked: no answer would make it good.
"""

import os
import sqlite3
from pathlib import Path
from typing import Final

# What a write or an open can end with when the reason is one of the file system's.
_ASKED: Final = frozenset({sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_TRUNCATE})
_ASKED_KINDS: Final = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY})
_PROBE: Final = bytes(4096)


def reason_of(error: sqlite3.Error, database: Path) -> OSError | None:
    """Return what the file system answers now to a write beside ``database``.

    None: it takes one, or the error is none that this could explain.
    """
    code = getattr(error, "sqlite_errorcode", 0)
    if code not in _ASKED and code & 0xFF not in _ASKED_KINDS:
        return None
    path = database.with_suffix(".probe")
    try:
        try:
            # As many descriptors as SQLite holds of one database.
            with path.open("wb", 0) as file, path.open("rb"):
                written = file.write(_PROBE)
                if written == len(_PROBE):
                    os.fsync(file.fileno())
        finally:
            path.unlink(missing_ok=True)
    except OSError as refused:
        return refused
    return None


def path_of(connection: sqlite3.Connection) -> Path:
    """Return the file of a connection."""
    (_, _, name) = connection.execute("PRAGMA database_list").fetchone()
    return Path(name)
