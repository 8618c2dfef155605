"""Write a point of a third-party device: from a number in its unit to one request, and its limits.

The reverse of reading, for the types and orders that can be reversed exactly. A value between two
steps of the register is refused, never rounded; bits of a register are changed by the device itself
(FC 16), because between a read and a write somebody else may change the others.
"""

import datetime as dt
import math
import struct
from collections.abc import Iterator
from fractions import Fraction
from typing import Final

from protocols.modbus_client import (
    Request,
    coil_request,
    coils_request,
    mask_request,
    read_write_request,
    register_request,
    registers_request,
)

from .language import BIT_TABLES, PointSpec, ProfileHead, WriteSpec
from .points import ProfilePoint, raw_range, shift_of, table_of
from .raw_types import FLOAT, INTEGER, RAW_TYPES, TIME
from .scaling import decimal_of, scaling_of

_WORD: Final = 0xFFFF
_MOST: Final = 1e30
_OF_COILS: Final = ("05", "0F")
_OF_ONE: Final = ("06", "10", "17")


class WriteError(ValueError):
    """A value cannot be written to this point; the text says what was expected."""


def write_mistakes(point: PointSpec, head: ProfileHead) -> Iterator[tuple[str, object, str]]:
    """Yield what is wrong with ``write`` of a point: key, value, what was expected."""
    write = point.write
    if write is None:
        return
    raw, table = RAW_TYPES[point.type], table_of(point, head)
    is_part = point.bit is not None or point.mask is not None
    if table not in ("holding", "coil"):
        yield "write", table, "a holding register or a coil"
        return
    can_be = raw.is_binary or raw.kind in (FLOAT, TIME) or point.type.startswith(("bcd", "bool"))
    if not can_be or raw.size == 1 or point.scale_register is not None:
        yield (
            "write",
            point.type,
            "a number in binary, BCD or float, or a time, alone in its register",
        )
        return
    if is_part and raw.size != 2:
        yield "write", point.type, "bits of one register"
    allowed: tuple[str, ...] = _OF_COILS if table in BIT_TABLES else ("10", "17")
    if table not in BIT_TABLES and raw.size == 2:
        allowed = ("16",) if is_part else _OF_ONE
    if write.by is not None and write.by not in allowed:
        yield "write.by", write.by, f"one of {', '.join(allowed)}"
    needs = raw.kind in (INTEGER, FLOAT) and point.type != "bool" and point.bit is None
    for key in ("low", "high"):
        if needs and getattr(write, key) is None:
            yield f"write.{key}", None, "a bound of what may be written, in the point's unit"
        elif not needs and getattr(write, key) is not None:
            yield f"write.{key}", getattr(write, key), f"no {key}, which is for a number"
    for key in ("low", "high", "step"):
        number = getattr(write, key)
        if number is not None and not (math.isfinite(number) and abs(number) <= _MOST):
            yield f"write.{key}", number, f"a number up to {_MOST:g}"
    if write.low is not None and write.high is not None and write.low > write.high:
        yield "write.high", write.high, f"at least low = {write.low}"
    if write.step is not None and (not needs or write.step <= 0):
        yield "write.step", write.step, "a step above 0 of a number"


def checked_number(point: ProfilePoint, number: Fraction) -> Fraction:
    """Return a number that may be written, as it is. WriteError."""
    write = _of(point)
    low, high = (
        (Fraction(decimal_of(write.low)), Fraction(decimal_of(write.high)))
        if write.low is not None and write.high is not None
        else (Fraction(0), Fraction(1))
    )
    if not low <= number <= high:
        raise WriteError(f"expected {float(low):g} to {float(high):g}, got {float(number):g}")
    if write.step is not None:
        step = Fraction(decimal_of(write.step))
        if (number - low) % step:
            raise WriteError(
                f"expected {float(low):g} and steps of {float(step):g}, got {float(number):g}"
            )
    return number


def write_of_number(
    point: ProfilePoint, number: Fraction, unit: int, answer_unit: int | None
) -> Request:
    """Return the request that writes a checked number. WriteError: no register can hold it."""
    spec, address = point.spec, point.cell.address
    by = _of(point).by
    if point.is_bit:
        on = bool(number)
        if by == "0F":
            return coils_request(unit, address, [on], answer_unit)
        return coil_request(unit, address, on, answer_unit)
    raw = _raw_of(point, number)
    if spec.bit is not None or spec.mask is not None:
        assert isinstance(raw, int)
        mask = 1 << spec.bit if spec.bit is not None else spec.mask or 0
        shift = spec.bit if spec.bit is not None else shift_of(spec)
        if point.cell.picks[0] == 1:  # the bytes of the register are swapped
            mask, bits = _swapped(mask), _swapped(raw << shift)
        else:
            bits = raw << shift
        return mask_request(unit, address, ~mask & _WORD, bits & mask, answer_unit)
    return _request(point, _bytes_of(point, raw), unit, answer_unit)


def write_of_time(point: ProfilePoint, utc_ms: int, unit: int, answer_unit: int | None) -> Request:
    """Return the request that sets a clock to a time. WriteError: it holds no such time."""
    local_ms = utc_ms + point.spec.utc_offset_min * 60_000
    return _request(point, _time_bytes(point.spec.type, local_ms), unit, answer_unit)


def _of(point: ProfilePoint) -> WriteSpec:
    assert point.spec.write is not None, "the caller has looked"
    return point.spec.write


def _raw_of(point: ProfilePoint, number: Fraction) -> int | float:
    spec, raw_type = point.spec, point.raw
    scaling = scaling_of(spec, raw_type)
    raw = (number - scaling.offset_fraction) / scaling.as_fraction
    if raw_type.kind == FLOAT:
        return float(raw)
    if raw.denominator != 1:
        step = abs(float(scaling.as_fraction))
        raise WriteError(f"expected a multiple of {step:g}, got {float(number):g}")
    low, high = raw_range(spec)
    if not low <= raw <= high:
        raise WriteError(f"expected what {spec.type} can hold, got {float(number):g}")
    return int(raw)


def _bytes_of(point: ProfilePoint, raw: float) -> bytes:
    """Return the value's bytes, the highest first."""
    kind, size = point.spec.type, point.raw.size
    if kind.startswith("bcd"):
        return bytes.fromhex(f"{raw:0{2 * size}d}")
    if point.raw.code:
        try:
            return struct.pack(">" + point.raw.code, raw)
        except (struct.error, OverflowError) as error:
            raise WriteError(f"expected what {kind} can hold, got {raw}") from error
    return int(raw).to_bytes(size, "big", signed=point.raw.signed)


def _time_bytes(kind: str, local_ms: int) -> bytes:
    at = dt.datetime.fromtimestamp(local_ms // 1000, tz=dt.UTC)
    if not 2000 <= at.year < 2100:
        raise WriteError(f"expected a time from 2000 to 2099, got {at.year}")
    year = at.year - 2000
    parts = (at.month, at.day, at.hour, at.minute, at.second)
    if kind == "datetime_words":
        return struct.pack(">6H", at.year, *parts)
    if kind == "datetime_bytes":
        return bytes((year, *parts))
    if kind == "datetime_bcd":
        return bytes.fromhex("".join(f"{part:02d}" for part in (year, *parts)))
    ms = 1000 * at.second + local_ms % 1000
    return struct.pack(">xBBBBBH", year, *parts[:4], ms)


def _request(point: ProfilePoint, data: bytes, unit: int, answer_unit: int | None) -> Request:
    registers = bytearray(2 * point.cell.words)
    for at, byte in zip(point.cell.picks, data, strict=True):
        registers[at] = byte
    by = _of(point).by or ("06" if point.cell.words == 1 else "10")
    make = {"06": register_request, "10": registers_request, "17": read_write_request}[by]
    return make(unit, point.cell.address, bytes(registers), answer_unit)


def _swapped(word: int) -> int:
    return (word & 0xFF) << 8 | word >> 8
