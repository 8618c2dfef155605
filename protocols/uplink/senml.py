"""SenML in CBOR (RFC 8428): the labels and numbers that records are made of."""

from typing import Final

import cbor2

from . import cbor
from .checks import wrong

CONTENT_TYPE: Final = "application/senml+cbor"

# Labels (RFC 8428 section 6, table 4).
BASE_NAME: Final = -2
BASE_TIME: Final = -3
NAME: Final = 0
UNIT: Final = 1
VALUE: Final = 2
STRING: Final = 3
TIME: Final = 6

_MAX_EXP10: Final = 30  # a sum with a float must stay a float


def decimal(raw: int, exp10: int) -> int | cbor2.CBORTag:
    """Return raw * 10**exp10 for the encoder: an integer or a fraction (RFC 8949, 3.4.4)."""
    return cbor2.CBORTag(cbor.DECIMAL_FRACTION, [exp10, raw]) if exp10 else raw


def number(value: cbor.Item, what: str, at: int) -> int | float:
    """Return a decoded number: an integer, a float, or a decimal fraction turned into one of them.

    A fraction with a negative exponent becomes the double nearest to it. FormatError(BAD_VALUE) for
    anything else, and for an exponent beyond 30 either way.
    """
    if type(value) is int or type(value) is float:
        return value
    if not isinstance(value, cbor.Tagged) or value.tag != cbor.DECIMAL_FRACTION:
        raise wrong(what, at, "number", cbor.kind_of(value))
    parts = value.value
    if not isinstance(parts, list) or len(parts) != 2:
        raise wrong(what, at, "tag 4 with an array of 2", cbor.kind_of(parts))
    exp10, raw = parts
    if type(exp10) is not int or type(raw) is not int:
        got = f"{cbor.kind_of(exp10)}, {cbor.kind_of(raw)}"
        raise wrong(what, at, "tag 4 with two integers", got)
    if not -_MAX_EXP10 <= exp10 <= _MAX_EXP10:
        raise wrong(what, at, f"exponent -{_MAX_EXP10} to {_MAX_EXP10}", exp10)
    scale: int = 10 ** abs(exp10)
    return raw * scale if exp10 >= 0 else raw / scale
