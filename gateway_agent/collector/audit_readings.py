"""Compare the stored readings of a batch with those that it has: packed rows by their text.

Only a row that differs is taken apart, so that the finding names the readings in it that differ.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Final

from protocols.uplink import Decoded

from .audit_tables import MAX_TEXT, AuditFinding
from .packing import Shape, unpack
from .rows import Row
from .shapes import read_shape

_MAX_SHAPES: Final = 10_000  # kept in memory


class StoredReadings:
    """The readings of a database that is not written meanwhile."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._shapes: dict[object, tuple[str, Shape] | None] = {}  # with their device

    def compare(
        self, derived: Iterable[tuple[int, int, Decoded]], packed: list[Row], single: list[Row]
    ) -> tuple[list[Row], list[Row]]:
        """Return the readings that are to be stored and those that are, to be compared by row.

        ``derived`` is as in :class:`.rows.BatchRows`. Packed rows that are as they have to be are
        in neither list.
        """
        expected: list[Row] = []
        differing: dict[object, list[Row]] = {}
        stored = {row[1]: row for row in packed}
        for stream_id, seq, record in derived:
            row = stored.get(seq)
            if row is not None and self._is_good(row, record):
                del stored[seq]
                continue
            rows: list[Row] = [(stream_id, seq, record.device_id, *v) for v in record.values]
            expected += rows
            differing[seq] = rows
        found = list(single)
        for row in stored.values():
            rows = self._taken_apart(row)
            found += rows
            if not rows or rows == differing.get(row[1]):
                found.append(row)  # no code has written it like that: named as it stands
        return expected, found

    def _is_good(self, row: Row, record: Decoded) -> bool:
        found = self._shapes.get(row[2]) or self._shape(row[2])
        if found is None:
            return False
        device, shape = found
        if shape.points is not record.points and shape.points == record.points:
            shape = Shape(shape.id, record.points)  # the same object may come again
            self._shapes[row[2]] = device, shape
        return device == record.device_id and shape.pack(record.points, record.numbers) == row[3]

    def _taken_apart(self, row: Row) -> list[Row]:
        """Return the readings of a packed row; none if it cannot be read."""
        found = self._shape(row[2])
        if found is None:
            return []
        device, shape = found
        return [(*row[:2], device, *value) for value in unpack(shape.points, row[3]) or ()]

    def _shape(self, identity: object) -> tuple[str, Shape] | None:
        if identity not in self._shapes:
            if len(self._shapes) >= _MAX_SHAPES:
                self._shapes.clear()
            self._shapes[identity] = read_shape(self._db, identity)
        return self._shapes[identity]


def compare(
    table: str, stream: str, expected: list[Row], found: list[Row]
) -> Iterator[AuditFinding]:
    """Name the rows that differ; the order does not count."""
    if expected == found:
        return
    ours, theirs = set(expected), set(found)
    wrong = [row for row in found if row not in ours]
    missing = [row for row in expected if row not in theirs]
    for row in missing:
        got = [other for other in wrong if other[1] == row[1]]
        where = f"record {row[1]} of {stream}"
        message = f"expected {row[2:]!r}, got {got[0][2:]!r}" if got else f"{row[2:]!r} is missing"
        yield AuditFinding(table, where, message[: 2 * MAX_TEXT])
    for row in () if missing else wrong:
        where = f"record {row[1]} of {stream}"
        yield AuditFinding(table, where, f"no batch has {row[2:]!r}"[:MAX_TEXT])
