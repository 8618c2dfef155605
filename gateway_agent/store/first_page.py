"""Read an outbox whose first page is damaged through the first page of a new, empty one.

Page 1 holds SQLite's header and the list of tables. Both are the same in every outbox but for some
counters, so a damaged one is replaced in a copy; every group and every value behind it proves
itself. The damaged file itself is never written.
"""

import logging
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from . import database
from .errors import file_error

log = logging.getLogger(__name__)

# SQLite file format, section 1.3: offsets in the header.
_FORMAT: Final = slice(0, 24)  # magic, page size, versions, fractions
_PAGE_COUNT: Final = slice(28, 32)  # 0: the size of the file counts
_USER_VERSION: Final = slice(60, 64)
_APPLICATION_ID: Final = slice(68, 72)


@contextmanager
def readable(path: Path, max_bytes: int) -> Iterator[sqlite3.Connection]:
    """Open the damaged file at ``path`` for reading, by a copy where that is needed.

    StoreFull: no room for the copy, which is removed at the end of the block in any case.
    """
    copy = path.with_suffix(".copy")
    remove(copy)
    try:
        fresh = _fresh(copy, max_bytes)
        with path.open("rb") as file:
            found = file.read(database.PAGE_BYTES)
        newer = _is_newer(found, fresh)
        if newer:
            log.warning("%s: a newer release wrote it; what this one can read is kept", path)
        else:
            _copy(path, copy, fresh)
        with database.explained(copy):
            connection = sqlite3.connect(
                path if newer else copy, isolation_level=None, check_same_thread=False, timeout=0
            )
        try:
            yield connection
        finally:
            database.close(connection)
    except OSError as error:
        raise file_error(f"{copy}, a copy of the damaged file", error) from error
    finally:
        remove(copy)


def files_of(path: Path) -> list[Path]:
    """List the database file and what SQLite puts beside it."""
    return [path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm")]


def remove(path: Path) -> None:
    """Remove a database with what is beside it, if it is there."""
    for file in files_of(path):
        file.unlink(missing_ok=True)


def _fresh(path: Path, max_bytes: int) -> bytes:
    """Return the first page of an empty outbox, which is made at ``path`` and removed."""
    connection = database.connect(path, max_bytes)
    try:
        database.settle(connection)
    finally:
        connection.close()
    page = path.read_bytes()[: database.PAGE_BYTES]
    remove(path)
    return page


def _is_newer(found: bytes, fresh: bytes) -> bool:
    """Check for a sound header that names a later schema: its tables are not those of ours."""
    version = int.from_bytes(found[_USER_VERSION])
    return version > database.SCHEMA_VERSION and all(
        found[part] == fresh[part] for part in (_FORMAT, _APPLICATION_ID)
    )


def _copy(path: Path, copy: Path, fresh: bytes) -> None:
    """Copy the database and its log, whose pages prove themselves, with the first page replaced."""
    for old, new in zip(files_of(path)[:2], files_of(copy), strict=False):
        if old.exists():
            shutil.copyfile(old, new)
    page = bytearray(fresh)
    page[_PAGE_COUNT] = bytes(4)
    with copy.open("r+b") as file:
        file.write(page)
