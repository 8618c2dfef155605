"""Write, read and delete the rows of the table of groups; its SQL stands here.

Whoever calls translates SQLite's errors (:func:`.database.explained`, or
:func:`.database.transaction`), except :func:`reachable`, which reads a file that is known to be
damaged.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Final

from .group import ChainPart, Group, Row, group_of, part_of

SCHEMA: Final = (
    "CREATE TABLE groups (first INTEGER PRIMARY KEY, boot_id BLOB NOT NULL, prev BLOB NOT NULL,"
    " head BLOB NOT NULL, sizes BLOB NOT NULL, seal BLOB NOT NULL, data BLOB NOT NULL)"
)
_MAX_KEY: Final = (1 << 63) - 1
_SELECT: Final = "SELECT first, boot_id, prev, head, sizes, seal, data FROM groups"

_SELECT_FROM: Final = (
    f"{_SELECT} WHERE first >= (SELECT max(first) FROM groups WHERE first <= ?)"  # noqa: S608 # constant
    " ORDER BY first"
)
_KEYS: Final = (
    "SELECT first FROM groups ORDER BY first",
    "SELECT first FROM groups ORDER BY first DESC",
)


def insert(connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Write the rows of new groups (inside the caller's transaction)."""
    connection.executemany(
        "INSERT INTO groups (first, boot_id, prev, head, sizes, seal, data)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        rows,
    )


def all_groups(connection: sqlite3.Connection) -> Iterator[Group]:
    """Read every group in order; StoreDamaged for one that does not prove itself."""
    return map(group_of, connection.execute(f"{_SELECT} ORDER BY first"))


def all_parts(connection: sqlite3.Connection) -> Iterator[ChainPart]:
    """Check every group in order; StoreDamaged for one that does not prove itself."""
    return map(part_of, connection.execute(f"{_SELECT} ORDER BY first"))


def groups_from(connection: sqlite3.Connection, record: int) -> Iterator[Group]:
    """Read the group that holds ``record`` and those after it, each only when it is asked for."""
    for row in connection.execute(_SELECT_FROM, (record,)):
        yield group_of(row)


def group_holding(connection: sqlite3.Connection, record: int) -> Group | None:
    """Read the last group that begins at or before ``record``; None if there is none."""
    row = connection.execute(
        f"{_SELECT} WHERE first <= ? ORDER BY first DESC LIMIT 1", (record,)
    ).fetchone()
    return None if row is None else group_of(row)


def group_at(connection: sqlite3.Connection, first: int) -> Group | None:
    """Read the group that begins with record ``first``; None if there is none."""
    row = connection.execute(f"{_SELECT} WHERE first = ?", (first,)).fetchone()
    return None if row is None else group_of(row)


def sizes_between(
    connection: sqlite3.Connection, begin: int, end: int
) -> Iterator[tuple[int, bytes]]:
    """Read ``first`` and ``sizes`` of the groups with records ``begin`` to ``end``, in order."""
    yield from connection.execute(
        "SELECT first, sizes FROM groups WHERE first <= ?2 AND first >="
        " coalesce((SELECT max(first) FROM groups WHERE first <= ?1), 0) ORDER BY first",
        (begin, end),
    )


def boots(connection: sqlite3.Connection) -> set[bytes]:
    """Read which boots still have groups."""
    return {boot_id for (boot_id,) in connection.execute("SELECT DISTINCT boot_id FROM groups")}


def delete_to(connection: sqlite3.Connection, record: int) -> None:
    """Delete the groups that begin at or before ``record`` (inside the caller's transaction)."""
    connection.execute("DELETE FROM groups WHERE first <= ?", (record,))


def delete_before(connection: sqlite3.Connection, record: int) -> None:
    """Delete the groups before the one that holds ``record`` (inside the caller's transaction)."""
    connection.execute(
        "DELETE FROM groups WHERE first < (SELECT max(first) FROM groups WHERE first <= ?)",
        (record,),
    )


def reachable(connection: sqlite3.Connection) -> list[int]:
    """Read the keys of a damaged table, rising: forward to the damage, then backward to it."""
    found: set[int] = set()
    for statement in _KEYS:
        try:
            for (key,) in connection.execute(statement):
                if isinstance(key, int) and 0 < key <= _MAX_KEY:
                    found.add(key)
            break
        except sqlite3.Error:
            continue
    return sorted(found)
