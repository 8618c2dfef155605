"""Put the readings of one record into one row: their numbers as a JSON array, what they are beside.

A reading is ``number / divisor``. SQLite does not read every decimal text of a double exactly, and
not every release of it alike, so no such text is stored. An element of the array is

* an integer: the number; the divisor stands in the shape. One division of two integers of up to 53
  bits gives the nearest double, in SQLite as in Python;
* ``[n, k]``: the double ``n / 2**k``, which is exact, too; its divisor is 1;
* ``null``: the record has no reading of this point of the shape.

A record with a number that is neither (an integer of more than 53 bits to be divided, a double
below about 1e-21 or above 9e18) is not packed. The views in :mod:`.schema` do the same in SQL.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

import msgspec

from protocols.uplink import MAX_NUMBER, RecordPoint

Number: TypeAlias = int | float
Element: TypeAlias = int | list[int] | None

_EXACT: Final = 1 << 53  # integers up to here are doubles
_MOST_SHIFT: Final = 124  # twice what an integer of SQLite can be shifted by


class Shape(NamedTuple):
    """What the elements of packed rows mean, in their order; ``id`` is that of ``shapes``."""

    id: int
    points: tuple[RecordPoint, ...]

    def place(
        self, points: Sequence[RecordPoint], numbers: Sequence[Number]
    ) -> list[Number | None] | None:
        """Return ``numbers`` in the order of this shape; None if it has not all of ``points``."""
        found = dict(zip(points, numbers, strict=True))
        placed = list(map(found.get, self.points))
        return placed if len(placed) - placed.count(None) == len(found) else None

    def pack(self, points: tuple[RecordPoint, ...], numbers: tuple[Number, ...]) -> str | None:
        """Return the text of a row; None if the record does not fit into one of this shape."""
        if points is self.points or points == self.points:
            return pack(self.points, numbers)
        placed = self.place(points, numbers)
        return None if placed is None else pack(self.points, placed)


def pack(points: Sequence[RecordPoint], numbers: Sequence[Number | None]) -> str | None:
    """Return the text of a row; None if a number has to stand in a row of its own."""
    elements: Sequence[Element]
    if set(map(type, numbers)) == {int}:
        integers: Sequence[int] = numbers  # type: ignore[assignment]  # the line before proved it
        if min(integers) >= -_EXACT and max(integers) <= _EXACT:
            return msgspec.json.encode(integers).decode()
    try:
        elements = [
            _element(number, point.divisor) for point, number in zip(points, numbers, strict=True)
        ]
    except ValueError:
        return None
    return msgspec.json.encode(elements).decode()


def _element(number: Number | None, divisor: int) -> Element:
    """Return what stands for a number. ValueError: nothing does."""
    if number is None:
        return None
    # A whole double is an integer, as it is in the column of `single_readings`.
    numerator, denominator = number.as_integer_ratio()
    if not -MAX_NUMBER <= numerator <= MAX_NUMBER:
        raise ValueError
    if denominator == 1:
        if divisor != 1 and abs(numerator) > _EXACT:
            raise ValueError
        return numerator
    shift = denominator.bit_length() - 1
    if shift > _MOST_SHIFT:
        raise ValueError
    return [numerator, shift]


def unpack(points: Sequence[RecordPoint], text: object) -> list[tuple[str, str, Number]] | None:
    """Return name, unit and value of each reading in a row; None if no :func:`pack` wrote it."""
    if not isinstance(text, str):
        return None
    try:
        elements = msgspec.json.decode(text, type=list[Element])
        if len(elements) != len(points) or msgspec.json.encode(elements).decode() != text:
            return None
        return [
            (point.name, point.unit, _value(element, point.divisor))
            for point, element in zip(points, elements, strict=True)
            if element is not None
        ]
    except (msgspec.DecodeError, ValueError):
        return None


def pick(points: Sequence[RecordPoint], index: int, text: str) -> list[tuple[str, str, Number]]:
    """Return one reading of a row as :func:`unpack` does, none if the row has none of it.

    The others are not made, and the text is not proved to be what :func:`pack` wrote: for queries.
    ValueError: it is no such array.
    """
    elements = msgspec.json.decode(text, type=list[Element])
    if len(elements) != len(points):
        raise ValueError(f"expected {len(points)} numbers, got {len(elements)}")
    element, point = elements[index], points[index]
    return [] if element is None else [(point.name, point.unit, _value(element, point.divisor))]


def _value(element: int | list[int], divisor: int) -> Number:
    if isinstance(element, int):
        return element if divisor == 1 else element / divisor
    numerator, shift = element
    if shift > _MOST_SHIFT:
        raise ValueError
    return numerator / (1 << shift)
