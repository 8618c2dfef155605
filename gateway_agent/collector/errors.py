"""The error of a collector's database that does not hold what was received, with its remedy."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

REBUILD: Final = (
    "stop the collector; `tianfu-gateway audit FILE --config FILE --rebuild` makes the tables anew"
    " from the batches that it keeps"
)
RESTORE: Final = (
    "move it away with the files beside it, and put a backup in its place or let the collector"
    " begin a new one; the gateways go on then, and name what is missing as a gap"
)
# SQLITE_ERROR: our statements have no fault, so it is the tables they are for.
_DAMAGE: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)


class DamagedDatabase(sqlite3.DatabaseError):
    """What is stored is not what was received; the text ends with the remedy."""

    def __init__(self, message: str) -> None:
        super().__init__(f"{message}; {REBUILD}; or {RESTORE}")


@contextmanager
def damage_named() -> Iterator[None]:
    """Raise what SQLite finds damaged inside the block as DamagedDatabase."""
    try:
        yield
    except UnicodeDecodeError as error:  # a message of SQLite with a name from the file
        raise DamagedDatabase(f"the file is damaged: {error.object!r}"[:500]) from error
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _DAMAGE:
            raise
        raise DamagedDatabase(f"the file is damaged: {error}") from error
