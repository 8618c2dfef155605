"""What is left of readings that are thinned: by point and minute, or hour, their count and bounds.

One rule makes the rows, for retention, which writes them, and for the audit, which makes them again
from the archive.
"""

import sqlite3
from collections.abc import Iterable
from typing import Final

from protocols.uplink import Decoded

MINUTE_S: Final = 60
HOUR_S: Final = 3600
_ADD: Final = (
    "INSERT INTO {table} VALUES (?,?,?,?,?,?,?) ON CONFLICT (point_id, width_s, start_s) DO UPDATE"
    " SET count = count + excluded.count, total = total + excluded.total,"
    " least = min(least, excluded.least), most = max(most, excluded.most)"
)

Times = dict[tuple[int, int], int | None]  # when a record was, by stream id and number


class ThinnedRows:
    """Rows of the table ``thinned``, or of one like it, inside the caller's transaction."""

    def __init__(self, connection: sqlite3.Connection, table: str = "thinned") -> None:
        self._db = connection
        self._add = _ADD.format(table=table)

    def add(
        self, points: sqlite3.Connection, readings: Iterable[tuple[int, int, Decoded]], times: Times
    ) -> int:
        """Add the readings of a batch, by minute; return how many. ``points``: names and their ids.

        ``readings`` are as in :class:`.rows.BatchRows`, ``times`` those of the records.
        """
        known: dict[tuple[str, str, str], int] = {}
        rows: dict[tuple[int, int], list[float]] = {}
        count = 0
        for stream_id, seq, record in readings:
            time_ms = times[stream_id, seq]
            if time_ms is None:
                raise ValueError(f"expected a record with a time, got number {seq}")
            start_s = time_ms // 1000 // MINUTE_S * MINUTE_S
            for name, unit, value in record.values:
                key = record.device_id, name, unit
                point = known.get(key)
                if point is None:
                    point = known[key] = _point(points, key)
                rows.setdefault((point, start_s), []).append(float(value))
                count += 1
        self._db.executemany(
            self._add,
            [
                (point, MINUTE_S, start_s, len(found), sum(found), min(found), max(found))
                for (point, start_s), found in rows.items()
            ],
        )
        return count

    def add_row(self, row: tuple[object, ...], width_s: int) -> None:
        """Add a row of a smaller width to the one of ``width_s`` that holds it."""
        point, _, start_s, *figures = row
        self._db.execute(
            self._add, (point, width_s, int(str(start_s)) // width_s * width_s, *figures)
        )


def _point(connection: sqlite3.Connection, key: tuple[str, str, str]) -> int:
    sql = "SELECT id FROM points WHERE device = ? AND name = ? AND unit = ?"
    row = connection.execute(sql, key).fetchone()
    if row is None:
        raise ValueError(f"expected a point {' '.join(key)}, got none: see the audit")
    return int(row[0])
