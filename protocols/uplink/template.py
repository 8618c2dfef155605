"""Records of third-party devices, fast: everything but the values is encoded once.

At 100 registers per device a general encoder costs more than the rest of the gateway together, so
the two constant parts of each point (its map with name and unit, and its map when it failed) are
kept as bytes and joined with values, or the reason of the failure, out of a table. Tests hold the
result equal to the general encoder's.
"""

import functools
import math
import struct
from collections.abc import Sequence
from typing import Final, cast

from protocols.wire.errors import BAD_VALUE, TOO_LONG, LocalError
from protocols.wire.registers import FAULT, OK, QUALITY_NAMES, TIMEOUT

from . import cbor, senml
from .fields import is_name, is_unit
from .record_types import (
    MAX_EXP10,
    MAX_RECORD_BYTES,
    PROFILE,
    QUALITY_SUFFIX,
    RESERVED_NAMES,
    STATUS_NAME,
    Record,
    Stamp,
)
from .record_write import check_device, check_stamp

# A double's exact shortest form is needed only when its last byte is zero (see _base_time).
_DOUBLE: Final = struct.Struct(">Bd")
_U32_HEAD: Final = struct.Struct(">BI")
# Longest value: tag 4, array, exponent and a 64 bit integer; 20 more for the head's numbers.
_LONGEST_VALUE: Final = 12
# What stands behind the prefix of a failed point.
_QUALITIES: Final = {name: cbor.encode(name) for name in QUALITY_NAMES if name != QUALITY_NAMES[OK]}
_LONGEST_QUALITY: Final = max(map(len, _QUALITIES.values()))
_TIMEOUT: Final = _QUALITIES[QUALITY_NAMES[TIMEOUT]]
_FAULT: Final = _QUALITIES[QUALITY_NAMES[FAULT]]


@functools.cache
def _small_integers() -> tuple[bytes, ...]:
    """The encodings of 0 to 65535: any register, without computing (3 MB, made once)."""
    return tuple(map(cbor.encode_int, range(1 << 16)))


class ProfileTemplate:
    """Writes the records of one third-party device.

    ``points``: (SenML name, SenML unit or "", decimal exponent) in the order of the values; a
    value is raw * 10**exp10, exp10 from -9 to 9.

    LocalError(BAD_VALUE): the device id, a name, unit or exponent the format cannot carry, a name
    twice. LocalError(TOO_LONG): the record could exceed MAX_RECORD_BYTES.
    """

    def __init__(self, device_id: str, points: Sequence[tuple[str, str, int]]) -> None:
        check_device(device_id)
        self._count = len(points)
        self._table = _small_integers()
        name = cbor.encode(device_id + "/")
        head = b"\x00" + cbor.encode(STATUS_NAME) + b"\x02\x00\x21" + name
        self._head_timeless = b"\xa4" + head + b"\x62tf\x85\x00"
        self._head_timed = b"\xa5" + head + b"\x22"
        self._floats: list[bytes] = []
        self._failures: list[bytes] = []
        self._parts: list[bytes] = [b""]
        seen: set[str] = set()
        for point, unit, exp10 in points:
            _check_point(point, unit, exp10)
            if point in seen:
                raise LocalError(BAD_VALUE, "point name", -1, "each name once", point)
            seen.add(point)
            entry: dict[int, str] = {senml.NAME: point}
            if unit:
                entry[senml.UNIT] = unit
            body = cbor.encode(entry)
            # One entry more than encoded so far: the value, which comes last.
            prefix = bytes((body[0] + 1,)) + body[1:] + bytes((senml.VALUE,))
            self._floats.append(prefix)
            self._failures.append(_failure(point))
            fraction = b"\xc4\x82" + cbor.encode(exp10) if exp10 else b""
            self._parts += [prefix + fraction, b""]
        longest = len(self._head_timed) + 50
        for values, failure in zip(self._parts[1::2], self._failures, strict=True):
            longest += max(len(values) + _LONGEST_VALUE, len(failure) + _LONGEST_QUALITY)
        if longest > MAX_RECORD_BYTES:
            limit = f"at most {MAX_RECORD_BYTES} bytes"
            raise LocalError(TOO_LONG, f"record of {self._count} points", -1, limit, longest)

    def record(self, raw: Sequence[int | float | str | None], stamp: Stamp) -> Record:
        """One poll's values, in the order of the points.

        An int is scaled by its point's exponent; a float is the value itself; a str is the name of
        a quality (QUALITY_NAMES without "ok") that says why there is no value. None is short for
        "timeout", a float that is not finite for "fault".
        LocalError(BAD_VALUE): a wrong number of values, an integer beyond 64 bits, a word that is
        no such quality, or the stamp.
        """
        if len(raw) != self._count:
            raise LocalError(BAD_VALUE, "values", -1, self._count, len(raw))
        parts = self._parts.copy()
        parts[0] = self._head(stamp)
        failed = 0
        try:
            registers = cast(Sequence[int], raw)
            # A negative index would count from the table's end. What is not an int is a TypeError.
            if raw and min(registers) < 0:
                failed = self._fill(parts, raw)
            else:
                table = self._table
                parts[2::2] = [table[value] for value in registers]
        except (TypeError, IndexError):
            failed = self._fill(parts, raw)
        return Record(b"".join(parts), self._count - failed, PROFILE, self._count + 1)

    def _fill(self, parts: list[bytes], raw: Sequence[int | float | str | None]) -> int:
        """Put any mix of values into ``parts``; how many of them are failures."""
        table = self._table
        failed = 0
        for index, value in enumerate(raw):
            at = 2 * index + 1
            if value is None:
                parts[at] = self._failures[index]
                parts[at + 1] = _TIMEOUT
                failed += 1
            elif isinstance(value, int):
                try:
                    parts[at + 1] = table[value] if 0 <= value < 0x10000 else cbor.encode_int(value)
                except OverflowError:
                    limit = "an integer of 64 bits"
                    raise LocalError(BAD_VALUE, f"value {index}", -1, limit, value) from None
            elif isinstance(value, str):
                quality = _QUALITIES.get(value)
                if quality is None:
                    expected = ", ".join(_QUALITIES)
                    raise LocalError(BAD_VALUE, f"quality {index}", -1, expected, value)
                parts[at] = self._failures[index]
                parts[at + 1] = quality
                failed += 1
            elif math.isfinite(value):
                parts[at] = self._floats[index]
                parts[at + 1] = cbor.encode_float(value)
            else:
                parts[at] = self._failures[index]
                parts[at + 1] = _FAULT
                failed += 1
        return failed

    def _head(self, stamp: Stamp) -> bytes:
        check_stamp(stamp)
        table = self._table
        req = stamp.req_ms
        delta = stamp.resp_ms - req
        unc = stamp.unc_ms
        tail = (
            (_U32_HEAD.pack(0x1A, req) if 0x10000 <= req <= 0xFFFFFFFF else cbor.encode_int(req))
            + (table[delta] if delta < 0x10000 else cbor.encode_int(delta))
            + table[stamp.clock_state]
            + (table[unc] if unc < 0x10000 else cbor.encode_int(unc))
        )
        if stamp.wall_ms is None:
            return self._head_timeless + tail
        return self._head_timed + _base_time(stamp.wall_ms / 1000) + b"\x62tf\x85\x00" + tail


def _base_time(seconds: float) -> bytes:
    double = _DOUBLE.pack(0xFB, seconds)
    # A double that fits a shorter form ends in zero bits; nearly none does, so ask only then.
    return double if double[8] else cbor.encode_float(seconds)


def _failure(point: str) -> bytes:
    """The map of a failed point up to the quality, which comes last."""
    name = cbor.encode(point + QUALITY_SUFFIX)
    return bytes((0xA2, senml.NAME)) + name + bytes((senml.STRING,))


def _check_point(name: str, unit: str, exp10: int) -> None:
    if not is_name(name) or name in RESERVED_NAMES or name.endswith(QUALITY_SUFFIX):
        expected = "1 to 64 of A-Za-z0-9-:./_, not status, event, gap, nor ending in /q"
        raise LocalError(BAD_VALUE, "point name", -1, expected, name)
    if unit and not is_unit(unit):
        raise LocalError(BAD_VALUE, f"unit of {name}", -1, "a SenML unit or empty", unit)
    if not -MAX_EXP10 <= exp10 <= MAX_EXP10:
        limit = f"-{MAX_EXP10} to {MAX_EXP10}"
        raise LocalError(BAD_VALUE, f"exponent of {name}", -1, limit, exp10)
