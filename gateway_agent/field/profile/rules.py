"""Rules about several keys of a point at once: which keys go together, and which values can be.

A key that a point cannot use, a code that can never match and bounds that nothing lies within are
mistakes that no reading would ever show, so they are refused before anything is read.
"""

import math
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from protocols.modbus_client.request import REGISTERS

from .codes import parse_codes
from .language import BIT_TABLES, Number, PointSpec, ProfileHead
from .points import make_point, raw_range, size_of, status_check, table_of
from .raw_types import FLOAT, INTEGER, RAW_TYPES, TEXT, TIME
from .writing import write_mistakes

_MOST_DIGITS: Final = 20  # of a scale, an offset or a bound
_BARE: Final = PointSpec(name="bare", register=0, type="u16")  # every other key at its default


class Mistake(NamedTuple):
    """What is wrong with a point: its key, what was expected instead, what to do."""

    key: str
    value: object
    expected: str
    remedy: str


def mistakes(point: PointSpec, head: ProfileHead) -> Iterator[Mistake]:
    """Yield what is wrong with a point."""
    found = list(_keys(point, head)) or list(_values(point)) or list(_places(point, head))
    yield from found
    if not found:
        yield from _limits(point, head)
        for key, value, expected in write_mistakes(point, head):
            yield Mistake(key, value, expected, "correct it, or take `write` away")


def _keys(point: PointSpec, head: ProfileHead) -> Iterator[Mistake]:
    """Yield the keys that do not go with the type, the table, or another key."""
    raw = RAW_TYPES[point.type]
    is_bit = table_of(point, head) in BIT_TABLES
    if is_bit and point.type != "bool":
        yield Mistake("type", point.type, '"bool" for a coil or a discrete input', "change it")
        return
    number = raw.kind in (INTEGER, FLOAT) and point.type != "bool"
    part = raw.kind == INTEGER and point.type != "bool" and raw.is_binary
    wide = raw.size != 1 and not is_bit
    usable: list[tuple[str, bool, str]] = [
        ("half", raw.size == 1, "is for u8 and i8"),
        ("words", raw.kind == TEXT, "is for a string"),
        ("encoding", raw.kind == TEXT, "is for a string"),
        ("utc_offset_min", raw.kind == TIME, "is for a date and time"),
        ("order", wide, "is not for a value of 8 bits or a coil"),
        ("word_order", wide, "is not for a value of 8 bits or a coil"),
        ("byte_order", wide, "is not for a value of 8 bits or a coil"),
        ("bit", part and point.mask is None, "is for an integer in binary, without a mask"),
        ("mask", part, "is for an integer in binary"),
        ("shift", part and point.mask is not None, "is for a point with a mask"),
        ("invalid", not is_bit, "is not for a coil or a discrete input"),
        ("status", not is_bit, "is not for a coil or a discrete input"),
        ("values", raw.kind == INTEGER, "is for an integer"),
        ("bits", part and point.bit is None, "is for an integer in binary"),
    ]
    usable += [
        (key, number, "is for a number")
        for key in ("scale", "exp10", "offset", "scale_register", "low", "high")
    ]
    for key, fits, reason in usable:
        value = getattr(point, key)
        if not fits and value != getattr(_BARE, key):
            yield Mistake(key, value, f"no {key}, which {reason}", "remove it")
    if point.order is not None and (point.word_order, point.byte_order) != (None, None):
        yield Mistake("order", point.order, "order, or word_order and byte_order", "remove one")
    if point.type == "string" and point.words is None:
        yield Mistake("words", None, "the length of the string in registers", "write words = 8")
    if point.scale_register is not None and point.offset:
        yield Mistake("offset", point.offset, "no offset, because of scale_register", "remove it")
    if point.values and point.bits:
        yield Mistake("bits", "a table", "values or bits", "remove one of them")


def _values(point: PointSpec) -> Iterator[Mistake]:
    """Yield the numbers and codes that cannot be."""
    raw = RAW_TYPES[point.type]
    for key in ("scale", "offset", "low", "high"):
        value: Number | None = getattr(point, key)
        if value is None:
            continue
        digits = len(str(value)) if isinstance(value, int) else 0
        if not math.isfinite(value) or digits > _MOST_DIGITS + 1 or abs(value) > 1e30:
            yield Mistake(key, value, f"a number of at most {_MOST_DIGITS} digits", "correct it")
    if point.scale == 0:
        yield Mistake(
            "scale", 0, "a factor other than 0", "write what one step of the raw value is"
        )
    elif abs(point.scale) < 1e-30:
        yield Mistake("scale", point.scale, "a factor of at least 1e-30", "correct it")
    if point.low is not None and point.high is not None and point.low > point.high:
        yield Mistake("high", point.high, f"at least low = {point.low}", "exchange low and high")
    width = 8 * raw.size
    if point.bit is not None and point.bit >= width:
        yield Mistake("bit", point.bit, f"0 to {width - 1} of {point.type}", "correct it")
    if point.mask is not None and point.mask >= 1 << width:
        yield Mistake("mask", point.mask, f"at most {(1 << width) - 1:#x}", "correct it")
    elif point.mask is not None and point.shift is not None and not point.mask >> point.shift:
        yield Mistake("shift", point.shift, "a shift that leaves bits of the mask", "correct it")
    yield from _codes("invalid", lambda: parse_codes(point.invalid, raw, size_of(point)))
    if point.status is not None:
        status = point.status
        yield from _codes("status", lambda: status_check(status))
    low, high = raw_range(point)
    for key, table, least, most in (
        ("values", point.values, low, high),
        ("bits", point.bits, 0, width - 1),
    ):
        for number in table:
            try:
                good = least <= int(number, 0) <= most
            except ValueError:
                good = False
            if not good:
                yield Mistake(key, number, f"numbers from {least} to {most}", "correct it")


def _codes(key: str, parse: Callable[[], object]) -> Iterator[Mistake]:
    try:
        parse()
    except ValueError as error:
        value, expected = error.args
        yield Mistake(key, value, expected, "correct or remove it")


def _places(point: PointSpec, head: ProfileHead) -> Iterator[Mistake]:
    """Yield the registers that do not exist, and a value that no request can hold."""
    words = 1 if table_of(point, head) in BIT_TABLES else (size_of(point) + 1) // 2
    places = [("register", point.register, words)]
    if point.scale_register is not None:
        places.append(("scale_register", point.scale_register, 1))
    if point.status is not None:
        places.append(("status.register", point.status.register, 1))
    last = REGISTERS - 1 + head.base
    for key, register, count in places:
        if not head.base <= register <= last + 1 - count:
            which = "it" if count == 1 else f"all {count} registers"
            expected = f"{which} from {head.base} to {last}"
            yield Mistake(key, register, expected, "correct register")
    if words > head.max_words:
        expected = f"at most max_words = {head.max_words} registers"
        yield Mistake(
            "type" if point.words is None else "words", words, expected, "raise max_words"
        )


def _limits(point: PointSpec, head: ProfileHead) -> Iterator[Mistake]:
    """Yield bounds that no raw value lies within."""
    if RAW_TYPES[point.type].kind == TEXT:
        return
    low, high = make_point(point, head).limits
    if low > high:
        key = "low" if point.high is None else "high"
        expected = f"bounds that a value of {point.type} can lie within"
        yield Mistake(key, getattr(point, key), expected, "correct the bounds or the scale")
