"""Checks of single decoded fields: type and range, or a PeerError naming the field.

``at`` is the offset of the structure the field stands in (fields of small maps and arrays are not
tracked one by one). Each check returns its value with the type it proved.
"""

import re
from typing import Final

from protocols.identity import IDENTIFIER_RULE, is_identifier
from protocols.wire.errors import BAD_VALUE, PeerError

from .cbor import Item, kind_of

MAX_U16: Final = 0xFFFF
MAX_U32: Final = 0xFFFFFFFF
# Sequence numbers, streams and times stay inside SQLite's and PostgreSQL's signed 64 bit integers.
MAX_NUMBER: Final = (1 << 63) - 1

MAX_NAME_LENGTH: Final = 64
MAX_UNIT_LENGTH: Final = 16

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9:./_-]{0,63}")
_UNIT: Final = re.compile(r"[A-Za-z0-9%/]{1,16}")


def wrong(what: str, at: int, expected: object, got: object) -> PeerError:
    """The error for a field that holds something else."""
    return PeerError(BAD_VALUE, what, at, expected, got)


def integer(value: Item, what: str, at: int, low: int = 0, high: int = MAX_NUMBER) -> int:
    """An integer from ``low`` to ``high``."""
    if type(value) is not int:
        raise wrong(what, at, "integer", kind_of(value))
    if not low <= value <= high:
        raise wrong(what, at, f"{low} to {high}", value)
    return value


def optional_integer(value: Item, what: str, at: int, low: int = 0) -> int | None:
    """An integer as :func:`integer` has it, or null."""
    return None if value is None else integer(value, what, at, low)


def text(value: Item, what: str, at: int, longest: int) -> str:
    """Text of at most ``longest`` characters."""
    if type(value) is not str:
        raise wrong(what, at, "text", kind_of(value))
    if len(value) > longest:
        raise wrong(what, at, f"at most {longest} characters", len(value))
    return value


def identifier(value: Item, what: str, at: int) -> str:
    """The id of a gateway or a device (``protocols.identity``)."""
    if type(value) is not str:
        raise wrong(what, at, "text", kind_of(value))
    if not is_identifier(value):
        raise wrong(what, at, IDENTIFIER_RULE, repr(value[:80]))
    return value


def is_name(value: str) -> bool:
    """Whether ``value`` can be a SenML name below a device: 1 to 64 of ``A-Za-z0-9-:./_``."""
    return _NAME.fullmatch(value) is not None


def is_unit(value: str) -> bool:
    """Whether ``value`` has the form of a registered SenML unit (``Cel``, ``%RH``, ``ug/m3``)."""
    return _UNIT.fullmatch(value) is not None


def blob(value: Item, what: str, at: int, shortest: int, longest: int) -> bytes:
    """A byte string of ``shortest`` to ``longest`` bytes."""
    if type(value) is not bytes:
        raise wrong(what, at, "bytes", kind_of(value))
    if not shortest <= len(value) <= longest:
        limits = f"{shortest} bytes" if shortest == longest else f"{shortest} to {longest} bytes"
        raise wrong(what, at, limits, f"{len(value)} bytes")
    return value


def array(value: Item, what: str, at: int, shortest: int, longest: int) -> list[Item]:
    """An array of ``shortest`` to ``longest`` elements."""
    if not isinstance(value, list):
        raise wrong(what, at, "array", kind_of(value))
    if not shortest <= len(value) <= longest:
        limits = str(shortest) if shortest == longest else f"{shortest} to {longest}"
        raise wrong(what, at, f"{limits} elements", len(value))
    return value


def mapping(value: Item, what: str, at: int) -> dict[int | str, Item]:
    """A map."""
    if not isinstance(value, dict):
        raise wrong(what, at, "map", kind_of(value))
    return value
