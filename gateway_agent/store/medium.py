"""Ask the medium how large it is, and why it refuses: SQLite's errors have no errno.

A quota and the limit of open files are no room, as a full disk is; a read-only file system has a
remedy of its own. After a failed fsync nothing is asked: no answer would make it good.

An outbox on a small medium is smaller than it may be: at its largest there must be room to repair
it, or no receipt and no start could ever make any. That takes a copy with another first page and
the new file, each with its log, while the reserve is given away.
"""

import os
import sqlite3
from pathlib import Path
from typing import Final

from gateway_agent.tables import Problem

# What a write or an open can end with when the reason is one of the file system's.
_ASKED: Final = frozenset({sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_TRUNCATE})
_ASKED_KINDS: Final = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY})
_PROBE: Final = bytes(4096)

SMALLEST_MEDIUM: Final = 4 << 20  # of less there is too little left for records
_APART: Final = 2 << 20  # of the medium: three logs and the GAP records of a repair
_COPIES: Final = 4  # the outbox itself, two copies, and what else is in the directory


def size_of(directory: Path) -> int:
    """Return the size in bytes of the file system that a directory is, or will be, on; 0: unknown.

    OSError if that cannot be asked.
    """
    while not directory.exists() and directory != directory.parent:
        directory = directory.parent
    space = os.statvfs(directory)
    return space.f_blocks * space.f_frsize


def fitting(directory: Path, max_bytes: int) -> int:
    """Return how large an outbox of at most ``max_bytes`` may become on its medium. OSError."""
    size = size_of(directory)
    if not size:
        return max_bytes
    return min(max_bytes, (max(size, SMALLEST_MEDIUM) - _APART) // _COPIES)


def too_small(directory: Path, config: Path) -> list[Problem]:
    """Return that the file system of a state directory is too small, if it is."""
    try:
        size = size_of(directory)
    except OSError:
        return []  # `run` names what is wrong with it
    if not 0 < size < SMALLEST_MEDIUM:
        return []
    wanted = f"a directory on a file system of at least {SMALLEST_MEDIUM} bytes, this has {size}"
    remedy = "choose another one: the outbox needs room to be repaired in"
    return [Problem(str(config), "gateway.state_dir", f'"{directory}"', wanted, remedy)]


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
                written = os.pwrite(file.fileno(), _PROBE, 0)  # as SQLite writes
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
