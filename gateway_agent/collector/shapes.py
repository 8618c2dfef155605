"""The table ``shapes``: which readings of a device stand at which place of a packed row.

The devices that write now are kept in memory; points that many devices have in common are kept
once. A device has few shapes, however its points come and go: a record goes into a row of a shape
that has more points, and when MAX_SHAPES are there and none fits, its readings get rows of their
own.
"""

import sqlite3
from itertools import groupby
from operator import itemgetter
from typing import Final, TypeAlias

from protocols.uplink import Decoded, RecordPoint

from .packing import Shape, pack

MAX_SHAPES: Final = 16  # of a device
MAX_POINTS: Final = 250_000  # different ones, devices and shapes in memory: at most about 100 MB

Points: TypeAlias = tuple[RecordPoint, ...]


class Shapes:
    """The shapes of a database, inside the caller's transactions."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._known: dict[str, list[Shape]] = {}  # by device
        self._points: dict[Points, Points] = {}  # each once, whatever many devices have it
        self._size = 0  # devices, their shapes, and the points in them

    def forget(self) -> None:
        """Forget what is in memory; call it when a transaction was taken back."""
        self._known.clear()
        self._points.clear()
        self._size = 0

    def pack(self, record: Decoded) -> tuple[int, str] | None:
        """Return the shape and the text of a record's row; None if its readings need their own.

        A device that needs a new shape gets one.
        """
        points, numbers = record.points, record.numbers
        shapes = self._of(record.device_id)
        for index, shape in enumerate(shapes):
            if shape.points is points:
                text = pack(points, numbers)
                return None if text is None else (shape.id, text)
            if shape.points == points:
                shapes[index] = Shape(shape.id, points)  # the same object may come again
        for shape in shapes:
            text = shape.pack(points, numbers)
            if text is not None:
                return shape.id, text
        text = pack(points, numbers)
        if text is None or len(shapes) >= MAX_SHAPES:
            return None
        identity = self._add(record.device_id, points)
        shapes.append(Shape(identity, self._once(points)))
        return identity, text

    def _of(self, device: str) -> list[Shape]:
        shapes = self._known.get(device)
        if shapes is None:
            if self._size >= MAX_POINTS:
                self.forget()
            rows = self._db.execute(
                "SELECT shapes.id, name, unit, divisor FROM points"
                " JOIN shapes ON point_id = points.id WHERE device = ?"
                " ORDER BY shapes.id, position",
                (device,),
            )
            self._size += 1
            shapes = self._known[device] = [
                Shape(identity, self._once(tuple(RecordPoint(*row[1:]) for row in of_one)))
                for identity, of_one in groupby(rows, itemgetter(0))
            ]
        return shapes

    def _once(self, points: Points) -> Points:
        """Return the tuple that is kept of all that equal ``points``, for one more shape."""
        kept = self._points.setdefault(points, points)
        self._size += 1 + len(points) * (kept is points)
        return kept

    def _add(self, device: str, points: Points) -> int:
        (newest,) = self._db.execute("SELECT max(id) FROM shapes").fetchone()
        identity: int = (newest or 0) + 1
        self._db.executemany(
            "INSERT OR IGNORE INTO points (device, name, unit) VALUES (?, ?, ?)",
            [(device, point.name, point.unit) for point in points],
        )
        found = self._db.execute("SELECT name, unit, id FROM points WHERE device = ?", (device,))
        ids = {(name, unit): number for name, unit, number in found}
        self._db.executemany(
            "INSERT INTO shapes VALUES (?,?,?,?)",
            [
                (identity, position, ids[point.name, point.unit], point.divisor)
                for position, point in enumerate(points)
            ],
        )
        return identity

    def point(self, device: str, name: str, unit: str) -> int:
        """Return the id of a point; a name that is new gets one."""
        find = "SELECT id FROM points WHERE device = ? AND name = ? AND unit = ?"
        add = "INSERT INTO points (device, name, unit) VALUES (?, ?, ?) RETURNING id"
        key = device, name, unit
        (number,) = self._db.execute(find, key).fetchone() or self._db.execute(add, key).fetchone()
        return int(number)


def read_shape(connection: sqlite3.Connection, identity: object) -> tuple[str, Shape] | None:
    """Return a shape as it is stored, with its device; None if it is not one that was written."""
    rows = connection.execute(
        "SELECT position, device, name, unit, divisor FROM shapes"
        " LEFT JOIN points ON points.id = point_id WHERE shapes.id = ? ORDER BY position",
        (identity,),
    ).fetchall()
    devices = {row[1] for row in rows}
    is_whole = (
        isinstance(identity, int)
        and [row[0] for row in rows] == list(range(len(rows)))
        and len(devices) == 1
        and all(
            isinstance(name, str) and isinstance(unit, str) and isinstance(divisor, int) and divisor
            for _, _, name, unit, divisor in rows
        )
    )
    if not is_whole:
        return None
    return devices.pop(), Shape(int(str(identity)), tuple(RecordPoint(*row[2:]) for row in rows))
