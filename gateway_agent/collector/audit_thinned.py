"""Prove what retention left: the rows of minutes and hours, made again from the archive."""

import math
import sqlite3
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final, NamedTuple

from protocols.uplink import Decoded

from .archive_read import ArchiveReader
from .audit_tables import AuditFinding
from .thinning import HOUR_S, MINUTE_S, ThinnedRows, Times

_TABLE: Final = (
    "CREATE TABLE thinned (point_id INTEGER NOT NULL, width_s INTEGER NOT NULL,"
    " start_s INTEGER NOT NULL, count INTEGER NOT NULL, total REAL NOT NULL, least REAL NOT NULL,"
    " most REAL NOT NULL, PRIMARY KEY (point_id, width_s, start_s)) WITHOUT ROWID"
)
_ROWS: Final = "SELECT * FROM thinned ORDER BY point_id, start_s / 3600, width_s, start_s"
_CLOSE: Final = 1e-9  # sums in another order

_Key = tuple[int, int]  # point and hour


class _Thinned(NamedTuple):
    point: int
    width_s: int
    start_s: int
    readings: int
    total: float
    least: float
    most: float

    def equals(self, other: "_Thinned") -> bool:
        """Compare all but the width and the start."""
        return (self.readings, self.least, self.most) == (
            other.readings, other.least, other.most,
        ) and math.isclose(self.total, other.total, rel_tol=_CLOSE, abs_tol=_CLOSE)  # fmt: skip


class ThinnedAudit:
    """``readings``: how many were thinned of the batches that :meth:`add` got."""

    def __init__(self, connection: sqlite3.Connection, archive: ArchiveReader) -> None:
        self._db = connection
        self._expected = sqlite3.connect("", isolation_level=None)  # on the disk, if it is large
        self._expected.execute(_TABLE)
        self._rows = ThinnedRows(self._expected)
        self._gone_s = archive.hours_gone_s
        self.readings = 0

    def add(self, readings: Iterable[tuple[int, int, Decoded]], times: Times) -> None:
        """Take the readings of a batch that the database has no more. ValueError: no time."""
        self.readings += self._rows.add(self._db, readings, times)

    def compare(self) -> Iterator[AuditFinding]:
        """Yield each hour of a point that is not what the archive gives."""
        found = _by_hour(self._db)
        here = next(found, None)
        for key, expected in _by_hour(self._expected):
            while here is not None and here[0] < key:
                yield self._finding(here[0], "the archive has no reading of it")
                here = next(found, None)
            rows = here[1] if here is not None and here[0] == key else []
            if rows:
                here = next(found, None)
            if not rows and key[1] * HOUR_S < self._gone_s:
                continue
            problem = _problem(expected, rows) if rows else "is missing"
            if problem and key[1] * HOUR_S >= self._gone_s:
                yield self._finding(key, problem)
        while here is not None:
            yield self._finding(here[0], "the archive has no reading of it")
            here = next(found, None)

    def close(self) -> None:
        """Release the temporary database."""
        self._expected.close()

    def _finding(self, key: _Key, message: str) -> AuditFinding:
        row = self._db.execute(
            "SELECT device || ' ' || name, datetime(?, 'unixepoch') FROM points WHERE id = ?",
            (key[1] * HOUR_S, key[0]),
        ).fetchone()
        where = f"{row[0]}, hour of {row[1]}" if row else f"point id {key[0]}"
        return AuditFinding("thinned", where, message)


def _by_hour(connection: sqlite3.Connection) -> Iterator[tuple[_Key, list[_Thinned]]]:
    rows = map(_Thinned._make, connection.execute(_ROWS))
    for key, group in groupby(rows, lambda row: (row.point, row.start_s // HOUR_S)):
        yield key, list(group)


def _problem(expected: list[_Thinned], found: list[_Thinned]) -> str:
    minutes = {row.start_s: row for row in expected}
    for row in found:
        if row.width_s == MINUTE_S:
            other = minutes.get(row.start_s)
            if other is None or not row.equals(other):
                return f"expected {other}, got {row}"
        elif row.width_s != HOUR_S or row.start_s % HOUR_S:
            return f"expected a row of a minute or an hour, got {row}"
    ours, theirs = _sum(expected), _sum(found)
    return "" if ours.equals(theirs) else f"expected {ours}, got {theirs}"


def _sum(rows: list[_Thinned]) -> _Thinned:
    return _Thinned(
        rows[0].point,
        HOUR_S,
        rows[0].start_s,
        sum(row.readings for row in rows),
        math.fsum(row.total for row in rows),
        min(row.least for row in rows),
        max(row.most for row in rows),
    )
