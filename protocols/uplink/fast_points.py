"""The records of third-party devices, written fast: all but the values is encoded once.

At 100 registers per device a general encoder costs more than the rest of the gateway together. A
:class:`ProfileTemplate` keeps the *prefix* of each point, the bytes of its map up to its value::

    a2 00 <name> 02               without a unit
    a3 00 <name> 01 <unit> 02     with a unit

and what a failed point begins with, and joins them with values, or the reason of the failure, out
of a table. Tests hold it equal to the general encoder. :mod:`.record_shape` reads such records.
"""

import functools
import struct
from collections.abc import Callable, Sequence
from math import isfinite
from typing import Final, NamedTuple, TypeAlias, cast

from protocols.wire.errors import BAD_VALUE, TOO_LONG, LocalError
from protocols.wire.register_names import QUALITY_NAMES
from protocols.wire.registers import FAULT, TIMEOUT

from . import cbor, senml
from .checks import IDENTIFIER
from .record_layout import EXPONENT, POINT_NAME, STAMP, UNIT, head_name, is_stamp
from .record_types import (
    EXTENSION,
    MAX_EXP10,
    MAX_RECORD_BYTES,
    POINT_QUALITIES,
    PROFILE,
    QUALITY_SUFFIX,
    DecimalFraction,
    Record,
    Stamp,
)

RawReading: TypeAlias = int | float | DecimalFraction | str | None

# CBOR's initial bytes, each to be added to a length below 24.
_MAP: Final = 0xA0
_MAP_2: Final = _MAP + 2
_MAP_3: Final = _MAP + 3
_FRACTION: Final = b"\xc4\x82"  # tag 4 and an array of 2; the exponent follows
_FRACTIONS: Final = {
    exp10: _FRACTION + cbor.encode_int(exp10) if exp10 else b""
    for exp10 in range(-MAX_EXP10, MAX_EXP10 + 1)
}
_EXTENSION: Final = cbor.encode(EXTENSION) + b"\x85" + cbor.encode(PROFILE)  # array of 5: kind

# A double's exact shortest form is needed only when its last byte is zero (see _base_time).
_DOUBLE: Final = struct.Struct(">Bd")
_U32_HEAD: Final = struct.Struct(">BI")
# Longest value: tag 4, array, exponent and a 64 bit integer; 20 more for the head's numbers.
_LONGEST_VALUE: Final = 12
# What stands behind the prefix of a failed point.
_QUALITIES: Final = {name: cbor.encode(name) for name in POINT_QUALITIES}
_LONGEST_QUALITY: Final = max(map(len, _QUALITIES.values()))
_TIMEOUT: Final = _QUALITIES[QUALITY_NAMES[TIMEOUT]]
_FAULT: Final = _QUALITIES[QUALITY_NAMES[FAULT]]


@functools.cache
def _small_integers() -> list[bytes]:
    """Return the table of the encodings of 0 to 65535, any register; empty where not met yet.

    It begins with 8 KB, and is as long as the largest value met needs, up to 0.5 MB. If every
    value comes up it has 3 MB.
    """
    return [b""] * (1 << 10)


def _small(value: int) -> bytes:
    """Return the encoding of a register, and keep it in the table, which grows for it."""
    table = _small_integers()
    if value >= len(table):
        table += [b""] * ((1 << value.bit_length()) - len(table))
    encoded = table[value] = cbor.encode_int(value)
    return encoded


class _Layout(NamedTuple):
    """What records of the same points have in common; nobody changes it."""

    floats: list[bytes]
    failures: list[bytes]
    parts: list[bytes]  # a place for the head, then what stands before each value and its place
    scaled: list[int]
    longest: int  # bytes of the points


@functools.lru_cache(maxsize=64)
def _layout(points: tuple[tuple[str, str, int], ...]) -> _Layout:
    """Return the layout of points; devices of one profile share it. LocalError."""
    scaled = [index for index, (_, _, exp10) in enumerate(points) if exp10]
    floats, failures, parts = list[bytes](), list[bytes](), [b""]
    seen: set[str] = set()
    for point, unit, exp10 in points:
        POINT_NAME.pack(point, "point name")
        if unit:
            UNIT.pack(unit, f"unit of {point}")
        EXPONENT.pack(exp10, f"exponent of {point}")
        if point in seen:
            raise LocalError(BAD_VALUE, "point name", -1, "each name once", point)
        seen.add(point)
        prefix = _prefix(point, unit)
        floats.append(prefix)
        failures.append(_failure(point))
        parts += [prefix + (_FRACTION + cbor.encode(exp10) if exp10 else b""), b""]
    longest = sum(
        max(len(values) + _LONGEST_VALUE, len(failure) + _LONGEST_QUALITY)
        for values, failure in zip(parts[1::2], failures, strict=True)
    )
    return _Layout(floats, failures, parts, scaled, longest)


class ProfileTemplate:
    """Writes the records of one third-party device.

    ``points``: (SenML name, SenML unit or "", decimal exponent) in the order of the values; a
    value is raw * 10**exp10, exp10 from -9 to 9.

    LocalError(BAD_VALUE): the device id, a name, unit or exponent the format cannot carry, a name
    twice. LocalError(TOO_LONG): the record could exceed MAX_RECORD_BYTES.
    """

    def __init__(self, device_id: str, points: Sequence[tuple[str, str, int]]) -> None:
        IDENTIFIER.pack(device_id, "device id")
        self._count = len(points)
        self._table = _small_integers()
        head = (
            _label(senml.NAME)
            + cbor.encode(head_name(PROFILE))
            + _label(senml.VALUE)
            + cbor.encode(0)
            + _label(senml.BASE_NAME)
            + cbor.encode(device_id + "/")
        )
        self._head_timeless = bytes((_MAP + 4,)) + head + _EXTENSION
        self._head_timed = bytes((_MAP + 5,)) + head + _label(senml.BASE_TIME)
        self._suspect = 0  # a value that was no integer last time
        layout = _layout(tuple(points))
        self._floats, self._failures, self._parts = layout.floats, layout.failures, layout.parts
        self._scaled = layout.scaled
        longest = layout.longest + len(self._head_timed) + 50
        if longest > MAX_RECORD_BYTES:
            limit = f"at most {MAX_RECORD_BYTES} bytes"
            raise LocalError(TOO_LONG, f"record of {self._count} points", -1, limit, longest)

    def record(self, raw: Sequence[RawReading], stamp: Stamp) -> Record:
        """Return the record of one poll; ``raw`` holds its values in the order of the points.

        An int is scaled by its point's exponent, a DecimalFraction by its own; a float is the value
        itself; a str is the name of a quality (POINT_QUALITIES), the reason why there
        is no value. None is short for "timeout", a float that is not finite for "fault".
        LocalError(BAD_VALUE): a wrong number of values, an integer beyond 64 bits, an exponent
        beyond 9, a text that is no such quality, or the stamp.
        """
        if len(raw) != self._count:
            raise LocalError(BAD_VALUE, "values", -1, self._count, len(raw))
        parts = self._parts.copy()
        parts[0] = self._head(stamp)
        failed = 0
        try:
            if raw and type(raw[self._suspect]) is not int:
                parts[2::2] = self._mixed(parts, raw)
            else:
                registers = cast(Sequence[int], raw)
                # A negative index would count from the table's end; no int is a TypeError.
                if raw and min(registers) < 0:
                    raise IndexError
                table = self._table
                parts[2::2] = [table[value] or _small(value) for value in registers]
        except (TypeError, IndexError, LookupError, ValueError, OverflowError):
            failed = self._fill(parts, raw)
        return Record(b"".join(parts), self._count - failed, PROFILE, self._count + 1)

    def _mixed(self, parts: list[bytes], raw: Sequence[RawReading]) -> list[bytes]:
        """Return the encoded values of a poll without failures; an exception if there is one."""
        table = self._table
        encoded = [
            table[value] or _small(value)
            if value.__class__ is int and 0 <= value < 0x10000
            else _ENCODERS[value.__class__](value)
            for value in raw
        ]
        for index in self._scaled:  # the exponent before a value is for integers only
            if type(raw[index]) is not int:
                parts[2 * index + 1] = self._floats[index]
        return encoded

    def _fill(self, parts: list[bytes], raw: Sequence[RawReading]) -> int:
        """Put any mix of values into ``parts``; return how many of them are failures."""
        failed = 0
        for index, value in enumerate(raw):
            at = 2 * index + 1
            if isinstance(value, int):
                parts[at] = self._parts[at]
                parts[at + 1] = _integer(int(value), index)
                continue
            self._suspect = index
            if isinstance(value, tuple):
                parts[at] = self._floats[index]
                parts[at + 1] = _fraction(value, index)
            elif isinstance(value, float) and isfinite(value):
                parts[at] = self._floats[index]
                parts[at + 1] = cbor.encode_float(value)
            else:
                parts[at] = self._failures[index]
                parts[at + 1] = _reason(value, index)
                failed += 1
        return failed

    def _head(self, stamp: Stamp) -> bytes:
        if not is_stamp(stamp):
            STAMP.pack(stamp, "stamp")  # raises the error that names the field
        table = self._table
        req = stamp.req_ms
        delta = stamp.resp_ms - req
        unc = stamp.unc_ms
        tail = (
            (_U32_HEAD.pack(0x1A, req) if 0x10000 <= req <= 0xFFFFFFFF else cbor.encode_int(req))
            + ((table[delta] or _small(delta)) if delta < len(table) else cbor.encode_int(delta))
            + (table[stamp.clock_state] or _small(stamp.clock_state))
            + ((table[unc] or _small(unc)) if unc < len(table) else cbor.encode_int(unc))
        )
        if stamp.wall_ms is None:
            return self._head_timeless + tail
        return self._head_timed + _base_time(stamp.wall_ms / 1000) + _EXTENSION + tail


def _integer(value: int, index: int) -> bytes:
    if 0 <= value < 0x10000:
        return _small(value)
    try:
        return cbor.encode_int(value)
    except OverflowError:
        limit = "an integer of 64 bits"
        raise LocalError(BAD_VALUE, f"value {index}", -1, limit, value) from None


def _fraction(value: DecimalFraction, index: int) -> bytes:
    """Return a number with its own exponent as the general encoder writes it."""
    if value.exp10 not in _FRACTIONS:
        expected = f"exponent -{MAX_EXP10} to {MAX_EXP10}"
        raise LocalError(BAD_VALUE, f"value {index}", -1, expected, value.exp10)
    return _FRACTIONS[value.exp10] + _integer(value.raw, index)


def _reason(value: float | str | None, index: int) -> bytes:
    """Return the encoded quality of a failed point."""
    if value is None:
        return _TIMEOUT
    if not isinstance(value, str):
        return _FAULT  # a float that is not finite
    if value not in _QUALITIES:
        raise LocalError(BAD_VALUE, f"quality {index}", -1, ", ".join(_QUALITIES), value)
    return _QUALITIES[value]


def _encode_float(value: float) -> bytes:
    if value - value != 0:
        raise ValueError  # not finite: a failure
    double = _DOUBLE.pack(0xFB, value)
    return double if double[8] else cbor.encode_float(value)  # see _base_time


def _encode_fraction(value: DecimalFraction) -> bytes:
    raw, exp10 = value
    number = _small_integers()[raw] or _small(raw) if 0 <= raw < 0x10000 else cbor.encode_int(raw)
    return _FRACTIONS[exp10] + number


# By type; what is not here is no common value.
_ENCODERS: Final[dict[type, Callable[..., bytes]]] = {
    int: cbor.encode_int,
    float: _encode_float,
    DecimalFraction: _encode_fraction,
}


def _base_time(seconds: float) -> bytes:
    double = _DOUBLE.pack(0xFB, seconds)
    # A double that fits a shorter form ends in zero bits; nearly none does, so ask only then.
    return double if double[8] else cbor.encode_float(seconds)


def _label(label: int) -> bytes:
    return cbor.encode(label)


def _prefix(name: str, unit: str) -> bytes:
    """Return the map of a point up to its value, which comes last."""
    entries = _label(senml.NAME) + cbor.encode(name)
    if unit:
        entries += _label(senml.UNIT) + cbor.encode(unit)
    return bytes((_MAP_3 if unit else _MAP_2,)) + entries + _label(senml.VALUE)


def _failure(name: str) -> bytes:
    """Return the map of a failed point up to the quality, which comes last."""
    entries = _label(senml.NAME) + cbor.encode(name + QUALITY_SUFFIX)
    return bytes((_MAP_2,)) + entries + _label(senml.STRING)
