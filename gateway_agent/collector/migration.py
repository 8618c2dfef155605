"""Bring a database of an older release to the tables of this one, in one transaction."""

import sqlite3
from collections.abc import Iterator
from typing import Final

from protocols.uplink import (
    CLOCK_NAMES,
    CLOCK_NONE,
    GENESIS,
    Batch,
    FormatError,
    decode_record,
    link,
    open_batch,
)

from .batch_log import new_id
from .dating import Dated, DatingAnchor, fold, succeeds
from .rows import seal
from .schema import ACTIONS, ADDED, ARCHIVED, BATCHES, DATING, FILES, PACKED, THINNED


def begin(connection: sqlite3.Connection) -> None:
    """Give a new database its id."""
    connection.execute("INSERT INTO database VALUES (?)", (new_id(),))


def from_version_1(connection: sqlite3.Connection) -> None:
    """Add the evidence, which version 1 did not keep; what is there stays as it is.

    The batches that it has taken have no ``data``, so an audit cannot prove their records. Inside
    the caller's transaction.
    """
    execute = connection.execute
    execute("ALTER TABLE batches RENAME TO batches_1")
    execute(BATCHES)
    chain = GENESIS
    old = execute("SELECT stream_id, first, last, head, boot_id FROM batches_1 ORDER BY 1, 3")
    for number, row in enumerate(old.fetchall(), 1):
        chain = link(chain, b"")
        values = (number, *row, None, 0, CLOCK_NAMES[CLOCK_NONE], chain, b"")
        execute("INSERT INTO batches VALUES (?,?,?,?,?,?,?,?,?,?,?)", values)
    execute("DROP TABLE batches_1")
    # Which key a node's frame was sealed with was not stored: NULL, which fits every key.
    execute("ALTER TABLE records ADD COLUMN key_id INTEGER")
    execute("ALTER TABLE refused ADD COLUMN seal BLOB")
    execute("ALTER TABLE counters ADD COLUMN seal BLOB")
    for statement in ADDED.split(";"):
        execute(statement)
    execute(
        "INSERT INTO devices SELECT device, gateway FROM (SELECT device, gateway, min(stream_id)"
        " FROM records JOIN streams ON streams.id = stream_id WHERE kind <> 'gap'"
        " GROUP BY device)"
    )
    for row in execute("SELECT stream_id, seq, data, reason FROM refused").fetchall():
        mended = (seal(*row), *row[:2])
        execute("UPDATE refused SET seal = ? WHERE stream_id = ? AND seq = ?", mended)
    for row in execute("SELECT name, value FROM counters").fetchall():
        execute("UPDATE counters SET seal = ? WHERE name = ?", (seal(*row), row[0]))
    begin(connection)


def from_version_2(connection: sqlite3.Connection) -> None:
    """Add how many polls a gap is about, and when; gaps of before have none."""
    for name in ("slots", "from_ms", "to_ms"):
        connection.execute(f"ALTER TABLE gaps ADD COLUMN {name} INTEGER")


def from_version_3(connection: sqlite3.Connection) -> None:
    """Date every record as this release does, from the batches: version 3 dated each of them once.

    A batch that cannot be read stays as it is; the audit names it.
    """
    execute = connection.execute
    execute("DROP INDEX IF EXISTS records_without_time")
    for statement in DATING.split(";"):
        execute(statement)
    numbers = execute("SELECT number FROM batches WHERE data <> x'' ORDER BY number").fetchall()
    present: dict[tuple[str, bytes], list[DatingAnchor]] = {}
    for (number,) in numbers:
        found = _batch(connection, number)
        if found is None:
            continue
        header = found[1].header
        key = header.gateway, header.anchor.boot_id
        anchors = present.setdefault(key, [])
        anchor = succeeds(anchors[-1] if anchors else None, header.anchor, number)
        if anchor is not None:
            anchors.append(anchor)
            execute("INSERT INTO anchors VALUES (?,?,?,?,?,?,?,?)", (*key, *anchor))
    for (number,) in numbers:
        found = _batch(connection, number)
        if found is not None:
            stream_id, batch = found
            anchors = present[batch.header.gateway, batch.header.anchor.boot_id]
            connection.executemany(
                "UPDATE records SET time_ms = ?, unc_ms = ?, clock = ?"
                " WHERE stream_id = ? AND seq = ?",
                _dated(stream_id, number, batch, anchors),
            )


def _batch(connection: sqlite3.Connection, number: int) -> tuple[int, Batch] | None:
    stream_id, data = connection.execute(
        "SELECT stream_id, data FROM batches WHERE number = ?", (number,)
    ).fetchone()
    try:
        return stream_id, open_batch(data, None)
    except FormatError:
        return None


def _dated(
    stream_id: int, number: int, batch: Batch, anchors: list[DatingAnchor]
) -> Iterator[tuple[object, ...]]:
    for seq, data in enumerate(batch.records, batch.header.first):
        try:
            stamp = decode_record(data).stamp
        except FormatError:  # it is in `refused`
            continue
        own = Dated(stamp.wall_ms, stamp.unc_ms, CLOCK_NAMES[stamp.clock_state])
        yield (*fold(own, stamp.resp_ms, number, anchors), stream_id, seq)


def from_version_4(connection: sqlite3.Connection) -> None:
    """Add the tables of packed readings; what is there stays in rows of its own, for good."""
    connection.execute("DROP VIEW measurements")
    connection.execute("ALTER TABLE readings RENAME TO single_readings")
    for statement in PACKED.split(";"):
        connection.execute(statement)


def from_version_5(connection: sqlite3.Connection) -> None:
    """Add the table of files, which no record of before is about."""
    connection.execute(FILES)


def from_version_6(connection: sqlite3.Connection) -> None:
    """Add the table of actions, which no record of before is."""
    connection.execute(ACTIONS)


def from_version_7(connection: sqlite3.Connection) -> None:
    """Add the table of what is archived; the collector archives the batches of before, too."""
    connection.execute(ARCHIVED)


def from_version_8(connection: sqlite3.Connection) -> None:
    """Add the tables of what retention leaves, which is nothing yet."""
    for statement in THINNED.split(";"):
        connection.execute(statement)


# From each version to the next, from 1 on.
STEPS: Final = (
    from_version_1,
    from_version_2,
    from_version_3,
    from_version_4,
    from_version_5,
    from_version_6,
    from_version_7,
    from_version_8,
)
