"""Strict reading of the CBOR that this project exchanges (RFC 8949), with offsets of faults.

Writing goes through ``cbor2`` (canonical). Reading does not: a general decoder builds dates,
regular expressions, sets and shared references out of tags that a stranger chose, keeps the last of
two equal keys, and does not report the byte at which a message is wrong. This module reads a closed
subset:

* integers of up to 64 bits, byte and text strings, arrays, maps with integer or text keys,
  false, true, null, finite floats, and the tags 4 (decimal fraction) and 18 (COSE_Sign1);
* with ``strict`` (the default) only the deterministic encoding of section 4.2.1: shortest heads,
  definite lengths, sorted keys, shortest floats. Without it section 4.1's liberties are allowed,
  except indefinite lengths and equal keys, which are refused always.

Memory: a value never costs more than a constant factor (about 70) of its encoding, and no length is
believed before the bytes for it are there; callers cap the input.
"""

import struct
from typing import Final, NamedTuple, TypeAlias

import cbor2

from protocols.wire.errors import BAD_ORDER, BAD_VALUE, TOO_LONG, TRUNCATED, UNKNOWN

from .errors import FormatError

MAX_DEPTH: Final = 8

DECIMAL_FRACTION: Final = 4
COSE_SIGN1: Final = 18


class Tagged(NamedTuple):
    """A tagged item; ``tag`` is DECIMAL_FRACTION or COSE_SIGN1, its content is not yet checked."""

    tag: int
    value: "Item"


Key: TypeAlias = "int | str"
Item: TypeAlias = "int | float | str | bytes | bool | list[Item] | dict[Key, Item] | Tagged | None"

_SIMPLE: Final[dict[int, bool | None]] = {0xF4: False, 0xF5: True, 0xF6: None}
_MAJOR: Final = (
    "unsigned integer",
    "negative integer",
    "byte string",
    "text string",
    "array",
    "map",
    "tag",
    "simple value or float",
)


def encode(item: object) -> bytes:
    """Return the deterministic encoding of ``item``, by cbor2.

    Not for floats from 32768 to 65504, which cbor2 5 writes longer than needed: the only float
    that comes here is a wall time; values of points go through :func:`encode_float`.
    """
    return cbor2.dumps(item, canonical=True)


def array_head(count: int) -> bytes:
    """Return the head of an array of ``count`` elements."""
    head = encode_int(count)
    return bytes((head[0] | 0x80,)) + head[1:]


def decode(data: bytes, max_bytes: int, what: str, strict: bool = True) -> Item:
    """Return the one item that ``data`` is.

    ``what`` names the thing in errors. FormatError: TOO_LONG (over ``max_bytes``, or bytes after
    the item), TRUNCATED, BAD_VALUE, UNKNOWN (tag or type outside the subset), BAD_ORDER (map keys).
    """
    if len(data) > max_bytes:
        raise FormatError(TOO_LONG, what, max_bytes, f"at most {max_bytes} bytes", len(data))
    value, end = read(data, 0, strict)
    if end != len(data):
        raise FormatError(TOO_LONG, f"bytes after the {what}", end, end, len(data))
    return value


def read(data: bytes, at: int = 0, strict: bool = True, depth: int = MAX_DEPTH) -> tuple[Item, int]:
    """Return the item that begins at ``at`` and the offset past it; errors as in :func:`decode`."""
    if at >= len(data):
        raise FormatError(TRUNCATED, "CBOR item", at, "at least 1 byte more", "end of input")
    first = data[at]
    if first < 0x18:
        return first, at + 1
    major = first >> 5
    if major == 7:
        return _read_simple(data, at, strict)
    argument, end = read_head(data, at, strict)
    if major == 0:
        return argument, end
    if major == 1:
        return -1 - argument, end
    if major in (2, 3):
        stop = end + argument
        if stop > len(data):
            raise FormatError(TRUNCATED, _MAJOR[major], at, f"{argument} bytes", len(data) - end)
        if major == 2:
            return data[end:stop], stop
        return _text(data, end, stop), stop
    if depth <= 0:
        raise FormatError(TOO_LONG, "nesting", at, f"at most {MAX_DEPTH} levels", "more")
    if major == 6:
        if argument not in (DECIMAL_FRACTION, COSE_SIGN1):
            raise FormatError(UNKNOWN, "CBOR tag", at, "4 or 18", argument)
        value, end = read(data, end, strict, depth - 1)
        return Tagged(argument, value), end
    if argument > len(data) - end:
        # Every element takes a byte at least: refuse before anything is made of the number.
        raise FormatError(TRUNCATED, _MAJOR[major], at, f"{argument} elements", len(data) - end)
    if major == 4:
        elements: list[Item] = []
        for _ in range(argument):
            value, end = read(data, end, strict, depth - 1)
            elements.append(value)
        return elements, end
    return _read_map(data, end, argument, strict, depth - 1)


def read_head(data: bytes, at: int, strict: bool = True) -> tuple[int, int]:
    """Return the argument of the head at ``at`` (RFC 8949 section 3) and the offset just past it.

    Not for major type 7. FormatError: TRUNCATED, or BAD_VALUE for a reserved, an indefinite or
    (with ``strict``) a longer than necessary length.
    """
    if at >= len(data):
        raise FormatError(TRUNCATED, "CBOR item", at, "at least 1 byte more", "end of input")
    short = data[at] & 0x1F
    if short < 24:
        return short, at + 1
    if short > 27:
        raise FormatError(BAD_VALUE, "CBOR length", at, "a definite length", hex(data[at]))
    width = 1 << (short - 24)
    end = at + 1 + width
    if end > len(data):
        raise FormatError(TRUNCATED, "CBOR length", at, f"{width} bytes", len(data) - at - 1)
    argument = int.from_bytes(data[at + 1 : end], "big")
    if strict and argument < (24 if width == 1 else 1 << (4 * width)):
        raise FormatError(BAD_VALUE, "CBOR length", at, "its shortest form", f"{width} bytes")
    return argument, end


def _text(data: bytes, at: int, stop: int) -> str:
    try:
        return data[at:stop].decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(
            BAD_VALUE, "text string", at + error.start, "UTF-8", data[at + error.start]
        ) from None


def _read_simple(data: bytes, at: int, strict: bool) -> tuple[Item, int]:
    first = data[at]
    if first in _SIMPLE:
        return _SIMPLE[first], at + 1
    if first not in (0xF9, 0xFA, 0xFB):
        raise FormatError(
            UNKNOWN, "CBOR simple value", at, "false, true, null or float", hex(first)
        )
    end = at + 1 + (2 << (first - 0xF9))
    if end > len(data):
        raise FormatError(TRUNCATED, "float", at, f"{end - at} bytes", len(data) - at)
    value: float = struct.unpack(">" + "efd"[first - 0xF9], data[at + 1 : end])[0]
    if value != value or value in (float("inf"), float("-inf")):
        raise FormatError(BAD_VALUE, "float", at, "a finite number", value)
    if strict and encode_float(value) != data[at:end]:
        raise FormatError(BAD_VALUE, "float", at, "its shortest form", data[at:end].hex())
    return value, end


def _read_map(
    data: bytes, at: int, count: int, strict: bool, depth: int
) -> tuple[dict[Key, Item], int]:
    entries: dict[Key, Item] = {}
    before = b""
    for _ in range(count):
        begin = at
        key, at = read(data, at, strict, depth)
        if type(key) is not int and type(key) is not str:
            raise FormatError(BAD_VALUE, "map key", begin, "integer or text", type(key).__name__)
        if key in entries:
            raise FormatError(BAD_VALUE, "map key", begin, "each key once", f"{key!r} again")
        if strict:
            encoded = data[begin:at]
            if encoded < before:
                raise FormatError(BAD_ORDER, "map key", begin, "keys sorted by their bytes", key)
            before = encoded
        entries[key], at = read(data, at, strict, depth)
    return entries, at


_DOUBLE: Final = struct.Struct(">d")
_SINGLE: Final = struct.Struct(">f")


def encode_float(value: float) -> bytes:
    """Return the shortest of the three float forms that keeps a finite ``value`` (4.2.2)."""
    double = _DOUBLE.pack(value)
    if double[7]:
        return b"\xfb" + double  # a shorter form has less than these bits
    try:
        single = _SINGLE.pack(value)
        if _SINGLE.unpack(single)[0] != value:
            return b"\xfb" + double
    except OverflowError:
        return b"\xfb" + double
    if single[3]:
        return b"\xfa" + single  # as above
    try:
        half = struct.pack(">e", value)
        if struct.unpack(">e", half)[0] == value:
            return b"\xf9" + half
    except OverflowError:
        pass
    return b"\xfa" + single


def encode_int(value: int) -> bytes:
    """Return the shortest head of an integer of up to 64 bits; ``OverflowError`` beyond."""
    major = 0x00
    if value < 0:
        major, value = 0x20, -1 - value
    if value < 24:
        return bytes((major | value,))
    if value < 0x100:
        return bytes((major | 24, value))
    if value < 0x10000:
        return struct.pack(">BH", major | 25, value)
    if value < 0x100000000:
        return struct.pack(">BI", major | 26, value)
    return (major | 27).to_bytes(1, "big") + value.to_bytes(8, "big")


def kind_of(value: object) -> str:
    """Return what an error message calls a decoded value."""
    if value is None:
        return "null"
    if isinstance(value, Tagged):
        return f"tag {value.tag}"
    names = {bool: "boolean", int: "integer", float: "float", str: "text", bytes: "bytes"}
    return names.get(type(value), "array" if isinstance(value, list) else "map")
