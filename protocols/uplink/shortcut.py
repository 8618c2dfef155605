"""Reading the points of a record seen before: a fifth of the time of the general way.

A collector reads the same few hundred names and units millions of times. The bytes of a point's map
up to its value are looked up whole; what is found there was read the general way once.
"""

from typing import Final

from . import senml
from .record_types import MAX_EXP10, Value

_MAX_PREFIXES: Final = 4096
# Encoded exponent of a decimal fraction -> power of ten.
_SCALES: Final = {
    **{exp10: 10**exp10 for exp10 in range(1, MAX_EXP10 + 1)},
    **{0x20 + exp10 - 1: 10**exp10 for exp10 in range(1, MAX_EXP10 + 1)},
}
_prefixes: dict[bytes, tuple[str, str]] = {}


def _prefix_end(data: bytes, at: int) -> int:
    """Where the value of a point's map begins, if the map looks like one; else -1.

    Reads labels and short texts only; IndexError at the end of the data.
    """
    if data[at + 1] != senml.NAME or not 0x61 <= data[at + 2] <= 0x77:
        return -1
    end = at + data[at + 2] - 0x60 + 3
    if data[at] == 0xA3:
        if data[end] != senml.UNIT or not 0x61 <= data[end + 1] <= 0x70:
            return -1
        end += data[end + 1] - 0x60 + 2
    elif data[at] != 0xA2:
        return -1
    return end + 1 if data[end] == senml.VALUE else -1


def remember(data: bytes, at: int, value: Value) -> None:
    """Keep the encoding of a checked point's name and unit, so it is checked once, not per poll."""
    end = _prefix_end(data, at)
    if end >= 0 and len(_prefixes) < _MAX_PREFIXES:
        _prefixes[data[at:end]] = (value.name, value.unit)


def known_point(data: bytes, at: int) -> tuple[Value, int] | None:
    """The point at ``at`` if its name and unit were checked before and its value is plain.

    The shortcut for most of what a collector reads: a fifth of the time. None sends the caller
    the long way, which also finds the words for what is wrong.
    """
    try:
        end = _prefix_end(data, at)
        if end < 0:
            return None
        names = _prefixes.get(data[at:end])
        if names is None:
            return None
        exponent = 0
        if data[end] == 0xC4 and data[end + 1] == 0x82:
            exponent = data[end + 2]
            if exponent not in _SCALES:
                return None
            end += 3
        # Major types 0 and 1 differ in one bit: a negative integer n is written as -1 - n.
        negative = data[end] & 0x20
        first = data[end] ^ negative
        if first < 0x18:
            raw = first
            end += 1
        elif first == 0x19 and data[end + 1]:
            raw = data[end + 1] << 8 | data[end + 2]
            end += 3
        elif first == 0x18 and data[end + 1] > 0x17:
            raw = data[end + 1]
            end += 2
        else:
            return None
    except IndexError:
        return None
    if negative:
        raw = -1 - raw
    if exponent == 0:
        return Value(names[0], names[1], raw), end
    scale = _SCALES[exponent]
    return Value(names[0], names[1], raw / scale if exponent >= 0x20 else raw * scale), end
