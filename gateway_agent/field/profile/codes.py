"""Codes in a profile: values by which a device says that it has none, or how good it is.

A number is a value of the point's own type; a text such as ``"0x8000"`` is its bits, and
``"0x8000&0xC000"`` the bits that a mask leaves. An integer above the largest value of a signed type
is taken for its bits too, as hexadecimal numbers in manuals are.
"""

import math
import struct
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from .language import Code
from .raw_types import FLOAT, INTEGER, RawType, RawValue


class BitPattern(NamedTuple):
    """Bits of a raw value: those of ``mask`` are equal to ``value``."""

    value: int
    mask: int


class Codes(NamedTuple):
    """What to compare a raw value with."""

    values: frozenset[RawValue]
    patterns: tuple[BitPattern, ...]

    @property
    def is_empty(self) -> bool:
        """Return whether there is nothing to compare with."""
        return not self.values and not self.patterns


_FORM: Final = 'a number, or bits such as "0x8000" or "0x8000&0xC000"'


def parse_codes(codes: Iterable[Code], raw: RawType, size: int) -> Codes:
    """Return the codes of a raw value of ``size`` bytes.

    ValueError, with the code and what was expected, for one that is malformed or can never match.
    """
    values: set[RawValue] = set()
    patterns: list[BitPattern] = []
    for code in codes:
        if isinstance(code, str):
            pattern = _pattern(code, size)
            value = _value_of(pattern, raw, size)
            if value is None:
                patterns.append(pattern)
            else:
                values.add(value)
        else:
            values.add(_number(code, raw))
    return Codes(frozenset(values), tuple(patterns))


def _pattern(text: str, size: int) -> BitPattern:
    full = (1 << 8 * size) - 1
    first, and_, second = (part.strip().lower() for part in text.partition("&"))
    # Digits alone could be meant as a decimal number.
    if not first.startswith("0x") or (and_ and not second.startswith("0x")):
        raise ValueError(text, _FORM)
    try:
        value = int(first, 16)
        mask = int(second, 16) if and_ else full
    except ValueError:
        raise ValueError(text, _FORM) from None
    if not 0 <= value <= full or not 0 < mask <= full:
        raise ValueError(text, f"bits of {size} bytes, up to {full:#x}")
    if value & ~mask:
        raise ValueError(text, f"no bits beside the mask {mask:#x}, else it can never match")
    return BitPattern(value, mask)


def _value_of(pattern: BitPattern, raw: RawType, size: int) -> RawValue | None:
    """Return the value that has just these bits; None if a value cannot stand for them."""
    if pattern.mask != (1 << 8 * size) - 1 or not raw.code:
        return None
    (value,) = struct.unpack(">" + raw.code, pattern.value.to_bytes(size, "big"))
    assert isinstance(value, (int, float))
    # 0.0 and -0.0 are equal, and not-a-number is equal to nothing.
    return value if raw.kind == INTEGER or (math.isfinite(value) and value) else None


def _number(code: float, raw: RawType) -> RawValue:
    if raw.kind == FLOAT:
        value = round_to(code, raw)
        if not math.isfinite(value):
            raise ValueError(code, f"a finite number of the type, or bits as text: {_FORM}")
        return value
    if raw.kind != INTEGER or not isinstance(code, int):
        wanted = "an integer, or bits as text" if raw.kind == INTEGER else "bits as text"
        raise ValueError(code, f"{wanted}: {_FORM}")
    if raw.low <= code <= raw.high:
        return code
    width = 8 * raw.size
    if raw.signed and raw.high < code < 1 << width:
        return code - (1 << width)
    raise ValueError(code, f"{raw.low} to {raw.high}, else it can never match")


def round_to(number: float, raw: RawType) -> float:
    """Return the nearest number of a float type; infinite beyond its range."""
    try:
        (value,) = struct.unpack(">" + raw.code, struct.pack(">" + raw.code, number))
    except OverflowError:
        return math.copysign(math.inf, number)
    assert isinstance(value, float)
    return value


def bit_reader(size: int) -> Callable[[int | bytes], int]:
    """Return the function that gives the bits of a raw value of ``size`` bytes as they came."""
    full = (1 << 8 * size) - 1

    def read(value: int | bytes) -> int:
        return int.from_bytes(value, "big") if isinstance(value, bytes) else value & full

    return read
