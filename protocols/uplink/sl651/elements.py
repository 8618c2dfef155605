"""Elements of SL 651: what a report can hold, with unit, digits and decimals (annex C).

An element group is an identifier (one byte, or FF and one byte), a definition byte (five bits: how
many bytes of data follow; three bits: decimals) and the data: BCD digits without the point, FF in
front for a negative number, FF everywhere for a missing one. Some elements hold bytes of another
kind; the table names them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from protocols.uplink.errors import FormatError
from protocols.wire.errors import BAD_VALUE, TRUNCATED, LocalError

#: An extended identifier: FF and one byte, as numbers from 0xFF00 on.
EXTENDED: Final = 0xFF
_MISSING: Final = 0xFF

# How the data of an element is to be read.
BCD: Final = 0
HEX: Final = 1
"""Bits or bytes that are no number."""
SERIES_1: Final = 2
"""Twelve numbers of one byte, FF for a missing one."""
SERIES_2: Final = 3
"""Twelve numbers of two bytes, FFFF for a missing one."""
_SERIES_BYTES: Final = {SERIES_1: 12, SERIES_2: 24}


@dataclass(frozen=True, slots=True)
class Element:
    """One line of annex C: a name, its unit, and N(digits, decimals) of its number."""

    identifier: int
    name: str
    unit: str
    digits: int
    decimals: int
    kind: int = BCD


@dataclass(frozen=True, slots=True)
class ElementGroup:
    """An element as it stood in a report: its identifier, definition byte and raw data."""

    identifier: int
    definition: int
    data: bytes

    @property
    def decimals(self) -> int:
        """How many of the digits stand behind the point, 0 to 7."""
        return self.definition & 7


_ROWS: Final = (
    Element(0x02, "air temperature", "Cel", 3, 1),
    Element(0x03, "water temperature", "Cel", 3, 1),
    Element(0x08, "air pressure", "hPa", 5, 0),
    Element(0x0E, "depth of groundwater", "m", 6, 2),
    Element(0x18, "humidity", "%RH", 4, 1),
    Element(0x1A, "rain of 1 hour", "mm", 5, 1),
    Element(0x20, "rain of now", "mm", 5, 1),
    Element(0x22, "rain of 5 minutes", "mm", 5, 1),
    Element(0x26, "rain in all", "mm", 6, 1),
    Element(0x27, "flow", "m3/s", 9, 3),
    Element(0x33, "direction of wind", "", 2, 0),
    Element(0x35, "speed of wind", "m/s", 4, 1),
    Element(0x37, "speed of water", "m/s", 5, 3),
    Element(0x38, "supply", "V", 4, 2),
    Element(0x39, "river level", "m", 7, 3),
    Element(0x3A, "downstream level", "m", 7, 3),
    Element(0x3B, "upstream level", "m", 7, 3),
    Element(0x45, "state and alarms", "", 8, 0, HEX),
    Element(0x46, "pH", "pH", 4, 2),
    Element(0x47, "dissolved oxygen", "mg/L", 4, 1),
    Element(0x48, "conductivity", "uS/cm", 5, 0),
    Element(0x49, "turbidity", "NTU", 3, 0),
    Element(0x4A, "permanganate index", "mg/L", 4, 1),
    Element(0x4B, "redox potential", "mV", 5, 1),
    Element(0x4C, "ammonia nitrogen", "mg/L", 6, 2),
    Element(0x4D, "total phosphorus", "mg/L", 5, 3),
    Element(0x4E, "total nitrogen", "mg/L", 5, 2),
    Element(0x4F, "organic carbon", "mg/L", 4, 2),
    Element(0xF4, "rain of each 5 minutes in 1 hour", "mm", 24, 1, SERIES_1),
    Element(0xF5, "level of each 5 minutes in 1 hour", "m", 48, 2, SERIES_2),
)
ELEMENTS: Final = {row.identifier: row for row in _ROWS}


def read_groups(data: bytes, offset: int = 0) -> Iterator[ElementGroup]:
    """Yield the element groups in ``data``, which stand one behind the other up to its end.

    ``offset`` is where ``data`` stands in the body, for errors. FormatError: a group that ends
    behind the data.
    """
    at = 0
    while at < len(data):
        identifier, head = data[at], 2
        if identifier == EXTENDED:
            identifier, head = int.from_bytes(data[at : at + 2]), 3
        if at + head > len(data):
            raise FormatError(TRUNCATED, "element", offset + at, f"{head} bytes", len(data) - at)
        definition = data[at + head - 1]
        length, start = group_length(identifier, definition), at + head
        if start + length > len(data):
            raise FormatError(
                TRUNCATED, _name(identifier), offset + start, f"{length} bytes", len(data) - start
            )
        yield ElementGroup(identifier, definition, data[start : start + length])
        at = start + length


def group_length(identifier: int, definition: int) -> int:
    """Return how many bytes of data a group has.

    A series has its own length: stations are seen whose definition byte says another one.
    """
    element = ELEMENTS.get(identifier)
    return _SERIES_BYTES.get(element.kind if element else BCD, definition >> 3)


def write_group(group: ElementGroup) -> bytes:
    """Return the bytes of a group. LocalError: data of another length than a reader would take."""
    length = group_length(group.identifier, group.definition)
    if len(group.data) != length:
        raise LocalError(BAD_VALUE, _name(group.identifier), -1, f"{length} bytes", len(group.data))
    size = 2 if group.identifier > 0xFF else 1
    return group.identifier.to_bytes(size) + bytes((group.definition,)) + group.data


def number_group(identifier: int, value: Decimal | None) -> ElementGroup:
    """Return the group of a number in the digits and decimals of the table; None: a missing one.

    A number is rounded half to even at the last decimal. LocalError: an element that is not in the
    table or holds no number, a number with more digits than the element has.
    """
    element = ELEMENTS.get(identifier)
    if element is None or element.kind != BCD:
        raise LocalError(BAD_VALUE, "element", -1, "one of a number", _name(identifier))
    size = (element.digits + 1) // 2
    if value is None:
        return _number(element, bytes((_MISSING,)) * size)
    number = int(value.scaleb(element.decimals).to_integral_value())
    digits = f"{abs(number):0{2 * size}d}"
    if len(digits.lstrip("0")) > element.digits:
        expected = f"{element.digits} digits, {element.decimals} of them decimals"
        raise LocalError(BAD_VALUE, element.name, -1, expected, str(value))
    sign = bytes((_MISSING,)) if number < 0 else b""
    return _number(element, sign + bytes.fromhex(digits))


def _number(element: Element, data: bytes) -> ElementGroup:
    return ElementGroup(element.identifier, len(data) << 3 | element.decimals, data)


def element_value(group: ElementGroup) -> Decimal | tuple[Decimal | None, ...] | bytes | None:
    """Return what a group says: a number, twelve of them, or bytes; None for a missing number.

    An element that is not in the table is read as a number. FormatError: what should be BCD and is
    not.
    """
    element = ELEMENTS.get(group.identifier)
    kind = element.kind if element else BCD
    if kind == HEX:
        return group.data
    if element and kind in _SERIES_BYTES:
        size = _SERIES_BYTES[kind] // 12
        return tuple(
            _of_series(group.data[at : at + size], element.decimals)
            for at in range(0, 12 * size, size)
        )
    return _of_bcd(group)


def _of_series(data: bytes, decimals: int) -> Decimal | None:
    if not data.strip(b"\xff"):
        return None
    return Decimal(int.from_bytes(data)).scaleb(-decimals)


def _of_bcd(group: ElementGroup) -> Decimal | None:
    data = group.data
    if not data.strip(b"\xff"):
        return None
    is_negative = data[0] == _MISSING
    text = data[is_negative:].hex()
    if not text.isdecimal():
        raise FormatError(BAD_VALUE, _name(group.identifier), -1, "BCD digits", data.hex().upper())
    number = Decimal(text).scaleb(-group.decimals)
    return -number if is_negative else number


def _name(identifier: int) -> str:
    element = ELEMENTS.get(identifier)
    size = 4 if identifier > 0xFF else 2
    return f"{element.name} ({identifier:02X})" if element else f"element {identifier:0{size}X}"
