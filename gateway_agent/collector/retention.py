"""Thin old readings, and only those that are proved: archived, and as the archive has them.

A segment of the archive is thinned as a whole, when the newest of its readings is old enough. Right
before that its file is compared with the signed index and its rows with its batches. What goes is
the readings and the bytes of the batches, which the archive has; records, gaps, events, actions and
what was refused stay, so that a record that comes again is recognised for ever. A line of the
signed index names what is removed, before it is; the removal is one transaction.
"""

import logging
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from protocols.uplink import FormatError, KeyLookup, NodeKeyLookup, decode_record, open_batch
from protocols.wire.hmac import HmacSha256

from .archive import BatchArchive
from .archive_files import REMOVED, THINNED
from .archive_read import reader_beside
from .audit import Audit
from .audit_tables import AuditFinding, open_for_audit
from .config import CollectorConfig, RetentionConfig
from .new_record import NewRecord
from .rows import rows_of
from .thinning import HOUR_S, MINUTE_S, ThinnedRows

log = logging.getLogger(__name__)

DAY_MS: Final = 86_400_000
_NEWEST: Final = (
    "SELECT max(records.time_ms), total(records.time_ms IS NULL AND (EXISTS (SELECT 1 FROM"
    " packed_readings AS packed WHERE packed.stream_id = records.stream_id"
    " AND packed.seq = records.seq) OR EXISTS (SELECT 1 FROM single_readings AS single"
    " WHERE single.stream_id = records.stream_id AND single.seq = records.seq)))"
    " FROM batches CROSS JOIN records ON records.stream_id = batches.stream_id"
    " AND records.seq BETWEEN first AND last WHERE number BETWEEN ? AND ?"
)
Progress = Callable[[int, int], None]  # how many segments are done, of how many
_TABLES: Final = ("packed_readings", "single_readings")


class RemovableSegment(NamedTuple):
    """Batches ``first`` to ``last``, whose newest record is of ``newest_ms``."""

    first: int
    last: int
    newest_ms: int


@dataclass
class RetentionResult:
    """What a run did, or, if it was dry, would do; ``kept``: why old segments stay."""

    segments: int = 0
    readings: int = 0
    minutes: int = 0  # rows that became rows of an hour
    hours: int = 0  # rows that were removed
    kept: list[str] = field(default_factory=list)


class Retention:
    """The rule over one database; ``now_ms`` is the collector's wall time."""

    def __init__(
        self,
        path: Path,
        config: RetentionConfig,
        keys: KeyLookup,
        nodes: NodeKeyLookup,
        now_ms: Callable[[], int],
    ) -> None:
        self._path = path
        self._config = config
        self._keys = keys
        self._nodes = nodes
        self._now_ms = now_ms

    @property
    def config(self) -> RetentionConfig:
        """Return the ages."""
        return self._config

    def today_ms(self, connection: sqlite3.Connection) -> int:
        """Return the time that ages count from: no later than what a gateway's clock has shown.

        A clock of the collector that is set forward by mistake removes nothing.
        """
        (shown,) = connection.execute(
            "SELECT max(wall_ms) FROM anchors WHERE clock = 'synchronised'"
        ).fetchone()
        return min(self._now_ms(), shown or 0)

    # --- readings ---------------------------------------------------------------------------

    def due(self, connection: sqlite3.Connection) -> list[RemovableSegment]:
        """Return the segments that are old enough, by the table ``archived``."""
        if not self._config.raw_days:
            return []
        before = self.today_ms(connection) - self._config.raw_days * DAY_MS
        segments = connection.execute(
            "SELECT first, last FROM archived WHERE first NOT IN (SELECT first FROM removals)"
            " ORDER BY first"
        ).fetchall()
        found = []
        for first, last in segments:
            newest, undated = connection.execute(_NEWEST, (first, last)).fetchone()
            if newest is not None and newest >= before:
                break  # what came later is younger, but for a backlog, whose turn comes
            if undated:
                continue
            found.append(RemovableSegment(first, last, newest or 0))
        return found

    def unproved(self, segment: RemovableSegment) -> AuditFinding | None:
        """Return the first thing that does not prove a segment; None if all of it is proved.

        It reads the database by a connection of its own: call it in any thread.
        """
        with closing(open_for_audit(self._path)) as connection:
            archive = reader_beside(connection, self._path, None)
            if archive is None:
                return AuditFinding("archive", f"batches from {segment.first} on", "is gone")
            run = Audit(connection, self._keys, self._nodes, archive=archive)
            found = next(run.run_part(segment.first, segment.last), None)
            if found is None and archive.problems:
                found = archive.problems[0]
            if found is None and run.signatures + run.statements < run.batches:
                found = AuditFinding(
                    "batches",
                    f"batches from {segment.first} on",
                    "no configured key verifies their signatures",
                )
            return found

    def remove(
        self, connection: sqlite3.Connection, archive: BatchArchive, segment: RemovableSegment
    ) -> int:
        """Thin a segment that was proved; return how many readings went. In one transaction."""
        line = archive.state(REMOVED, segment.first, segment.last)
        connection.execute("BEGIN IMMEDIATE")
        try:
            count = self._remove(connection, segment)
            connection.execute(
                "INSERT INTO removals VALUES (?,?,?)", (segment.first, segment.last, line)
            )
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        log.info("readings of batches %d to %d are thinned: %d", *segment[:2], count)
        return count

    def _remove(self, connection: sqlite3.Connection, segment: RemovableSegment) -> int:
        rows = ThinnedRows(connection)
        count = 0
        batches = connection.execute(
            "SELECT number, stream_id, first, last, data FROM batches"
            " WHERE number BETWEEN ? AND ? ORDER BY number",
            segment[:2],
        )
        for number, stream_id, first, last, data in batches.fetchall():
            count += thin_batch(connection, rows, stream_id, data)
            for table in _TABLES:
                connection.execute(
                    f"DELETE FROM {table} WHERE stream_id = ? AND seq BETWEEN ? AND ?",  # noqa: S608 # ours
                    (stream_id, first, last),
                )
            connection.execute("UPDATE batches SET data = x'' WHERE number = ?", (number,))
        return count

    # --- minutes and hours ------------------------------------------------------------------

    def thin_minutes(self, connection: sqlite3.Connection, archive: BatchArchive) -> int:
        """Turn old rows of a minute into rows of an hour; return how many."""
        if not self._config.minute_days:
            return 0
        before_s = self._before_s(connection, self._config.minute_days)
        return self._thin(connection, archive, MINUTE_S, HOUR_S, before_s)

    def remove_hours(self, connection: sqlite3.Connection, archive: BatchArchive) -> int:
        """Remove old rows of an hour; return how many."""
        if not self._config.hour_days:
            return 0
        before_s = self._before_s(connection, self._config.hour_days)
        return self._thin(connection, archive, HOUR_S, 0, before_s)

    def old_rows(self, connection: sqlite3.Connection, width_s: int, days: int) -> int:
        """Return how many rows of a width are older than ``days``."""
        if not days:
            return 0
        (count,) = connection.execute(
            "SELECT count(*) FROM thinned WHERE width_s = ? AND start_s < ?",
            (width_s, self._before_s(connection, days)),
        ).fetchone()
        return int(count)

    def _before_s(self, connection: sqlite3.Connection, days: int) -> int:
        return (self.today_ms(connection) - days * DAY_MS) // 1000 // HOUR_S * HOUR_S

    def _thin(
        self,
        connection: sqlite3.Connection,
        archive: BatchArchive,
        width_s: int,
        to_s: int,
        before_s: int,
    ) -> int:
        where = "FROM thinned WHERE width_s = ? AND start_s < ?"
        arguments = (width_s, before_s)
        old = connection.execute(f"SELECT * {where} ORDER BY 1, 2, 3", arguments).fetchall()  # ours
        if not old:
            return 0
        archive.state(THINNED, width_s, to_s, before_s)
        rows = ThinnedRows(connection)
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.execute(f"DELETE {where}", arguments)
            for row in old if to_s else ():
                rows.add_row(row, to_s)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return len(old)


def retention_of(
    config: CollectorConfig,
    gateways: Mapping[str, Mapping[bytes, Ed25519PublicKey]],
    nodes: Mapping[tuple[bytes, int], HmacSha256],
) -> Retention:
    """Return the rule of a configuration, with the keys that it names."""
    return Retention(
        config.collector.database,
        config.retention,
        lambda gateway, kid: gateways.get(gateway, {}).get(kid),
        lambda uid, number: nodes.get((uid, number)),
        lambda: time.time_ns() // 1_000_000,
    )


def thin_batch(
    connection: sqlite3.Connection, rows: ThinnedRows, stream_id: int, data: bytes
) -> int:
    """Add the readings that a batch brought to ``rows``; return how many.

    Those of its records that another batch brought before, or that were refused, are not its own.
    """
    try:
        batch = open_batch(data, None)
    except FormatError:
        return 0  # a statement of the collector: it has no readings
    header = batch.header
    times: dict[tuple[int, int], int | None] = {
        (stream_id, seq): time_ms
        for seq, time_ms in connection.execute(
            "SELECT seq, time_ms FROM records WHERE stream_id = ? AND seq BETWEEN ? AND ?",
            (stream_id, header.first, header.last),
        )
    }
    before = connection.execute(
        "SELECT max(last) FROM batches WHERE stream_id = ? AND last < ?", (stream_id, header.last)
    ).fetchone()[0]
    begin = max(header.first, (before or 0) + 1)
    new = [
        NewRecord(seq, batch.records[seq - header.first],
                  decode_record(batch.records[seq - header.first]), "", None, None, "")
        for seq in range(begin, header.last + 1)
        if (stream_id, seq) in times
    ]  # fmt: skip
    return rows.add(connection, rows_of(stream_id, header, new).readings, times)


def run(
    retention: Retention,
    connection: sqlite3.Connection,
    archive: BatchArchive | None,
    progress: Progress = lambda _done, _all: None,
) -> RetentionResult:
    """Do all that is due; without ``archive`` it is a dry run, which changes nothing."""
    result = RetentionResult()
    due = retention.due(connection)
    for done, segment in enumerate(due):
        progress(done, len(due))
        finding = retention.unproved(segment)
        if finding is not None:
            result.kept.append(f"batches {segment.first} to {segment.last} stay: {finding}")
            continue
        result.segments += 1
        if archive is None:
            result.readings += _count(connection, segment)
        else:
            result.readings += retention.remove(connection, archive, segment)
    if archive is None:
        config = retention.config
        result.minutes = retention.old_rows(connection, MINUTE_S, config.minute_days)
        result.hours = retention.old_rows(connection, HOUR_S, config.hour_days)
    else:
        result.minutes = retention.thin_minutes(connection, archive)
        result.hours = retention.remove_hours(connection, archive)
    progress(len(due), len(due))
    return result


def _count(connection: sqlite3.Connection, segment: RemovableSegment) -> int:
    rows = connection.execute(
        "SELECT stream_id, first, last FROM batches WHERE number BETWEEN ? AND ?", segment[:2]
    ).fetchall()
    return sum(
        connection.execute(
            "SELECT count(*) FROM readings WHERE stream_id = ? AND seq BETWEEN ? AND ?", row
        ).fetchone()[0]
        for row in rows
    )
