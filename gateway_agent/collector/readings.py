"""Read a collector's readings in the order of their times, as many as there are, in little memory.

Where retention has thinned them, what is left comes in their place: a minute or an hour of a point.

Records of a device are found by the index over device and time, and their packed rows taken apart
one at a time; the view ``measurements`` would have SQLite sort all of a span before the first row.
"""

import sqlite3
from collections.abc import Iterator
from heapq import merge
from typing import Final, NamedTuple, TypeAlias

from .packing import Shape, pick, unpack
from .shapes import read_shape
from .thinning import HOUR_S, MINUTE_S

_RECORDS: Final = (
    "SELECT time_ms, unc_ms, auth, stream, records.seq, records.stream_id, shape_id, numbers"
    " FROM records INDEXED BY records_of_device"
    " CROSS JOIN streams ON streams.id = records.stream_id"
    " LEFT JOIN packed_readings AS packed"
    " ON packed.stream_id = records.stream_id AND packed.seq = records.seq WHERE device = ?"
)
_OF_SPAN: Final = _RECORDS + " AND time_ms >= ? AND time_ms < ? ORDER BY time_ms"
_UNDATED: Final = _RECORDS + " AND time_ms IS NULL"
_SINGLE: Final = (
    "SELECT name, unit, value FROM single_readings JOIN points ON points.id = point_id"
    " WHERE stream_id = ?1 AND seq = ?2 AND ?3 IN ('', name) ORDER BY name"
)
_WITHOUT_TIME: Final = (
    "SELECT stream, min(records.seq), max(records.seq), count(*)"
    " FROM records INDEXED BY records_of_device JOIN streams ON streams.id = stream_id"
    " WHERE device = ? AND time_ms IS NULL AND (EXISTS (SELECT 1 FROM packed_readings AS packed"
    " WHERE packed.stream_id = records.stream_id AND packed.seq = records.seq)"
    " OR EXISTS (SELECT 1 FROM single_readings AS single"
    " WHERE single.stream_id = records.stream_id AND single.seq = records.seq))"
    " GROUP BY stream_id ORDER BY stream_id"
)
# BETWEEN is for the primary key; the line after it is what is asked for.
_THINNED: Final = (
    "SELECT start_s * 1000, device, name, total / count, unit, width_s, count, least, most"  # noqa: S608 # ours
    " FROM points CROSS JOIN thinned ON point_id = points.id WHERE device = ?1 AND ?2 IN ('', name)"
    f" AND width_s IN ({MINUTE_S}, {HOUR_S})"
    f" AND start_s BETWEEN ?3 / 1000 - {HOUR_S} AND ?4 / 1000"
    " AND (start_s + width_s) * 1000 > ?3 AND start_s * 1000 < ?4 ORDER BY start_s, name"
)
_MAX_SHAPES: Final = 10_000  # kept in memory


class MeasuredValue(NamedTuple):
    """One reading; ``unc_ms`` is how far its time may be off, ``auth`` how it was proven.

    ``time_ms`` is None while no clock has vouched for its boot.
    """

    time_ms: int | None
    device: str
    point: str
    value: float
    unit: str
    unc_ms: int
    auth: str
    stream: int
    seq: int


class ThinnedValue(NamedTuple):
    """What is left of ``readings`` readings of a point, of ``width_s`` seconds from ``time_ms`` on.

    ``mean`` lies between ``least`` and ``most``; no device has reported it.
    """

    time_ms: int
    device: str
    point: str
    mean: float
    unit: str
    width_s: int
    readings: int
    least: float
    most: float


StoredValue: TypeAlias = MeasuredValue | ThinnedValue


class UndatedRecords(NamedTuple):
    """``records`` records with readings and without a time, among ``first`` to ``last``."""

    stream: int
    first: int
    last: int
    records: int

    def __str__(self) -> str:
        where = f"records {self.first} to {self.last} of stream {self.stream}"
        return f"{self.records} records with readings have no time yet, among {where}"


class ReadingsReader:
    """The readings of an open database, which may be written meanwhile."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._shapes: dict[object, Shape | None] = {}

    def dated(self, device: str, point: str, from_ms: int, to_ms: int) -> Iterator[MeasuredValue]:
        """Yield readings by time, ``to_ms`` not included; ``point`` "" for all of the device."""
        return self._values(device, point, _OF_SPAN, (device, from_ms, to_ms))

    def thinned(self, device: str, point: str, from_ms: int, to_ms: int) -> Iterator[ThinnedValue]:
        """Yield what is left of thinned readings, by time: all that reaches into the span."""
        rows = self._db.execute(_THINNED, (device, point, from_ms, to_ms))
        yield from map(ThinnedValue._make, rows)

    def stored(self, device: str, point: str, from_ms: int, to_ms: int) -> Iterator[StoredValue]:
        """Yield :meth:`dated` and :meth:`thinned` together, by time.

        Inside of a transaction both are of one moment.
        """
        dated: Iterator[StoredValue] = self.dated(device, point, from_ms, to_ms)
        thinned: Iterator[StoredValue] = self.thinned(device, point, from_ms, to_ms)
        yield from merge(dated, thinned, key=lambda one: one.time_ms or 0)

    def undated(self, device: str, point: str) -> Iterator[MeasuredValue]:
        """Yield the readings without a time, in the order in which they were recorded."""
        return self._values(device, point, _UNDATED, (device,))

    def without_time(self, device: str) -> list[UndatedRecords]:
        """Return what :meth:`dated` leaves out of a device, by stream."""
        return [UndatedRecords(*row) for row in self._db.execute(_WITHOUT_TIME, (device,))]

    def span(self, device: str) -> tuple[int, int] | None:
        """Return the times of the first and the last dated record of a device."""
        sql = "SELECT min(time_ms), max(time_ms) FROM records WHERE device = ?"
        first, last = self._db.execute(sql, (device,)).fetchone()
        return None if first is None else (first, last)

    def _values(
        self, device: str, point: str, sql: str, arguments: tuple[object, ...]
    ) -> Iterator[MeasuredValue]:
        for time_ms, unc_ms, auth, stream, seq, stream_id, shape_id, text in self._db.execute(
            sql, arguments
        ):
            for name, unit, value in self._of_record(stream_id, seq, shape_id, text, point):
                yield MeasuredValue(time_ms, device, name, value, unit, unc_ms, auth, stream, seq)

    def _of_record(
        self, stream_id: int, seq: int, shape_id: object, text: object, point: str
    ) -> list[tuple[str, str, float]]:
        if shape_id is None:
            return self._db.execute(_SINGLE, (stream_id, seq, point)).fetchall()
        if shape_id not in self._shapes:
            if len(self._shapes) >= _MAX_SHAPES:
                self._shapes.clear()
            found = read_shape(self._db, shape_id)
            self._shapes[shape_id] = None if found is None else found[1]
        shape = self._shapes[shape_id]
        values = None if shape is None else _taken_apart(shape, text, point)
        if values is None:
            raise sqlite3.DatabaseError(
                f"record {seq} of stream id {stream_id} is not what was written: see the audit"
            )
        return [(name, unit, _whole(value)) for name, unit, value in sorted(values)]


def _taken_apart(shape: Shape, text: object, point: str) -> list[tuple[str, str, float]] | None:
    """Return the readings of a packed row, or those of one point; None: it is damaged."""
    if not point:
        return unpack(shape.points, text)
    found: list[tuple[str, str, float]] = []
    try:
        for index, one in enumerate(shape.points):
            if one.name == point:
                found += pick(shape.points, index, str(text))
    except ValueError:  # msgspec's own is one, too
        return None
    return found


def _whole(value: float) -> float:
    """Return an integer for a whole number, as the view has it."""
    if type(value) is float and value.is_integer() and abs(value) < 1 << 53:
        return int(value)
    return value
