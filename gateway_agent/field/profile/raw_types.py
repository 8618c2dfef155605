"""The types of values that registers hold: how wide each is and how its bytes become a value.

The bytes come here in big-endian order, whatever the order in the registers. A type that the
``struct`` module has is read by its code, together with all others of a poll; the rest is cut out
as bytes and converted by a function, which returns None for bytes that are no value of the type.
"""

import datetime as dt
import struct
from collections.abc import Callable
from typing import Final, Literal, TypeAlias

from msgspec import Struct

TypeName: TypeAlias = Literal[
    "u8", "i8", "u16", "i16", "u32", "i32", "u48", "i48", "u64", "i64", "f16", "f32", "f64",
    "bool", "bcd16", "bcd32", "bcd48", "bcd64", "sm16", "sm32",
    "mod10k32", "mod10k48", "mod10k64",
    "datetime", "datetime_words", "datetime_bytes", "datetime_bcd", "string",
]  # fmt: skip

INTEGER: Final = "integer"
FLOAT: Final = "float"
TIME: Final = "time"
TEXT: Final = "text"


class DeviceText(str):
    """Text that a device holds, where a value may be the name of a quality too."""

    __slots__ = ()


RawValue: TypeAlias = int | float | DeviceText


class RawType(Struct, frozen=True):
    """One type: its bytes, its code in ``struct`` ("" where ``convert`` reads them), its limits."""

    kind: str
    size: int  # bytes; 0: the point gives the length
    code: str = ""
    low: int = 0
    high: int = 0
    convert: Callable[[bytes], RawValue | None] | None = None
    signed: bool = False

    @property
    def is_binary(self) -> bool:
        """Return whether an integer of it has the bits that stand in the registers."""
        return bool(self.code) or self.convert in (_from_bytes, _from_signed_bytes)

    @property
    def words(self) -> int:
        """Return how many registers hold it."""
        return (self.size + 1) // 2


def _unsigned(size: int, code: str = "") -> RawType:
    convert = None if code else _from_bytes
    return RawType(INTEGER, size, code, 0, (1 << 8 * size) - 1, convert)


def _signed(size: int, code: str = "") -> RawType:
    high = (1 << 8 * size - 1) - 1
    convert = None if code else _from_signed_bytes
    return RawType(INTEGER, size, code, -high - 1, high, convert, signed=True)


def _from_bytes(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _from_signed_bytes(data: bytes) -> int:
    return int.from_bytes(data, "big", signed=True)


def _bcd(data: bytes) -> int | None:
    """Read two decimal digits from each byte."""
    digits = data.hex()
    return int(digits) if digits.isdecimal() else None


def _sign_magnitude(data: bytes) -> int:
    """Read a number whose highest bit is its sign."""
    raw = int.from_bytes(data, "big")
    sign = 1 << 8 * len(data) - 1
    return sign - raw if raw & sign else raw


def _mod10k(data: bytes) -> int | None:
    """Read registers that each hold four decimal digits, 0 to 9999."""
    value = 0
    for digits in struct.unpack(f">{len(data) // 2}H", data):
        if digits > 9999:
            return None
        value = value * 10_000 + digits
    return value


def _decimal(digits: int, size: int, convert: Callable[[bytes], int | None]) -> RawType:
    return RawType(INTEGER, size, "", 0, 10**digits - 1, convert)


def _milliseconds(parts: tuple[int, ...], ms: int = 0) -> int | None:
    """Return the time as ms since 1970; a year below 100 is one of this century."""
    year, month, day, hour, minute, second = parts
    if year < 100:
        year += 2000
    try:
        at = dt.datetime(year, month, day, hour, minute, second, tzinfo=dt.UTC)
    except ValueError:
        return None
    return int(at.timestamp()) * 1000 + ms


def _datetime(data: bytes) -> int | None:
    """Read IEC 60870-5-4 in four registers: year, month and day, hour and minute, milliseconds.

    The bits for invalid time (IV) and for the day of the week are in the same registers.
    """
    year, month, day, hour, minute, ms = struct.unpack(">xBBBBBH", data)
    if minute & 0x80:
        return None
    second, ms = divmod(ms, 1000)
    parts = (year & 0x7F, month & 0x0F, day & 0x1F, hour & 0x1F, minute & 0x3F, second)
    return _milliseconds(parts, ms)


def _datetime_words(data: bytes) -> int | None:
    return _milliseconds(struct.unpack(">6H", data))


def _datetime_bytes(data: bytes) -> int | None:
    return _milliseconds(struct.unpack(">6B", data))


def _datetime_bcd(data: bytes) -> int | None:
    digits = data.hex()
    if not digits.isdecimal():
        return None
    return _milliseconds(tuple(int(digits[i : i + 2]) for i in range(0, 12, 2)))


def _time(size: int, convert: Callable[[bytes], int | None]) -> RawType:
    return RawType(TIME, size, "", -(1 << 63), (1 << 63) - 1, convert)


RAW_TYPES: Final[dict[str, RawType]] = {
    "u8": _unsigned(1, "B"),
    "i8": _signed(1, "b"),
    "u16": _unsigned(2, "H"),
    "i16": _signed(2, "h"),
    "u32": _unsigned(4, "I"),
    "i32": _signed(4, "i"),
    "u48": _unsigned(6),
    "i48": _signed(6),
    "u64": _unsigned(8, "Q"),
    "i64": _signed(8, "q"),
    "f16": RawType(FLOAT, 2, "e"),
    "f32": RawType(FLOAT, 4, "f"),
    "f64": RawType(FLOAT, 8, "d"),
    "bool": RawType(INTEGER, 2, "H", 0, 0xFFFF),
    "bcd16": _decimal(4, 2, _bcd),
    "bcd32": _decimal(8, 4, _bcd),
    "bcd48": _decimal(12, 6, _bcd),
    "bcd64": _decimal(16, 8, _bcd),
    "sm16": RawType(INTEGER, 2, "", -0x7FFF, 0x7FFF, _sign_magnitude),
    "sm32": RawType(INTEGER, 4, "", -0x7FFFFFFF, 0x7FFFFFFF, _sign_magnitude),
    "mod10k32": _decimal(8, 4, _mod10k),
    "mod10k48": _decimal(12, 6, _mod10k),
    "mod10k64": _decimal(16, 8, _mod10k),
    "datetime": _time(8, _datetime),
    "datetime_words": _time(12, _datetime_words),
    "datetime_bytes": _time(6, _datetime_bytes),
    "datetime_bcd": _time(6, _datetime_bcd),
    "string": RawType(TEXT, 0),
}


def float_reader(raw: RawType) -> Callable[[bytes], float]:
    """Return the function that reads a float from its bytes."""
    unpack = struct.Struct(">" + raw.code).unpack

    def read(data: bytes) -> float:
        (value,) = unpack(data)
        assert isinstance(value, float)
        return value

    return read


def text_reader(encoding: str) -> Callable[[bytes], DeviceText | None]:
    """Return the function that reads a string; what a terminal would act on becomes a dot."""

    def read(data: bytes) -> DeviceText | None:
        try:
            text = data.split(b"\0", 1)[0].decode(encoding)
        except UnicodeDecodeError:
            return None
        return DeviceText("".join(c if c.isprintable() else "." for c in text).strip())

    return read
