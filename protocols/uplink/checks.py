"""What a field of the uplink's formats may hold, written once for its writer and its reader.

A *check* turns a value into the item that is encoded (:meth:`FieldCheck.pack`, LocalError: a bug
of ours) and a decoded item into the value it stands for (:meth:`FieldCheck.unpack`, FormatError: a
fault of the sender). Its ``rule`` describes what it accepts; ``docs/formats.md`` prints it.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Final, Generic, NamedTuple, TypeGuard, TypeVar

from protocols.identity import IDENTIFIER_RULE, MAX_IDENTIFIER_LENGTH, is_identifier
from protocols.wire.errors import BAD_VALUE, UNKNOWN, LocalError

from .cbor import Item, kind_of
from .errors import FormatError

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

MAX_U16: Final = 0xFFFF
MAX_U32: Final = 0xFFFFFFFF
# Sequence numbers, streams and times stay inside SQLite's and PostgreSQL's signed 64 bit integers.
MAX_NUMBER: Final = (1 << 63) - 1

MAX_NAME_LENGTH: Final = 64
MAX_UNIT_LENGTH: Final = 16

_NAME: Final = re.compile(f"[A-Za-z0-9][A-Za-z0-9:./_-]{{0,{MAX_NAME_LENGTH - 1}}}")
_UNIT: Final = re.compile(f"[A-Za-z0-9%/]{{1,{MAX_UNIT_LENGTH}}}")
_SHOWN: Final = 80  # characters of a wrong text that an error repeats


class Mismatch(NamedTuple):
    """Why a value does not fit: what was expected, what came, and the code of the error."""

    expected: object
    got: object
    code: int = BAD_VALUE
    field: str = ""  # set where a rule is about several fields and this one breaks it


class FieldCheck(ABC, Generic[T_co]):
    """One field's rule; see the module."""

    rule: str

    @abstractmethod
    def pack(self, value: object, field: str) -> object:
        """Return the item that stands for ``value``. LocalError if it does not fit."""

    @abstractmethod
    def unpack(self, item: Item, field: str, at: int) -> T_co:
        """Return the value that ``item``, decoded at ``at``, stands for. FormatError."""


class Plain(FieldCheck[T_co]):
    """A check whose values are encoded as they are."""

    @abstractmethod
    def fits(self, value: object) -> TypeGuard[T_co]:
        """Return whether ``value`` keeps the rule."""

    @abstractmethod
    def problem(self, value: object) -> Mismatch:
        """Return why ``value`` breaks the rule; it does."""

    def pack(self, value: object, field: str) -> object:
        """See :meth:`FieldCheck.pack`."""
        if self.fits(value):
            return value
        problem = self.problem(value)
        raise LocalError(BAD_VALUE, field, -1, problem.expected, problem.got)

    def unpack(self, item: Item, field: str, at: int) -> T_co:
        """See :meth:`FieldCheck.unpack`."""
        if self.fits(item):
            return item
        problem = self.problem(item)
        raise FormatError(problem.code, field, at, problem.expected, problem.got)


class Integer(Plain[int]):
    """An integer from ``low`` to ``high``."""

    def __init__(self, low: int = 0, high: int = MAX_NUMBER) -> None:
        self.low = low
        self.high = high
        self.rule = f"{_number(low)} to {_number(high)}"

    def fits(self, value: object) -> TypeGuard[int]:
        """See :meth:`Plain.fits`."""
        return type(value) is int and self.low <= value <= self.high

    def problem(self, value: object) -> Mismatch:
        """See :meth:`Plain.problem`."""
        if type(value) is not int:
            return Mismatch("integer", kind_of(value))
        return Mismatch(f"{self.low} to {self.high}", value)

    def unpack(self, item: Item, field: str, at: int) -> int:
        """See :meth:`FieldCheck.unpack`; most fields are integers, so without a call in between."""
        if type(item) is int and self.low <= item <= self.high:
            return item
        return super().unpack(item, field, at)


class Bytes(Plain[bytes]):
    """A byte string of ``shortest`` to ``longest`` bytes."""

    def __init__(self, shortest: int, longest: int | None = None) -> None:
        self.shortest = shortest
        self.longest = shortest if longest is None else longest
        self.rule = f"{_range(self.shortest, self.longest)} bytes"

    def fits(self, value: object) -> TypeGuard[bytes]:
        """See :meth:`Plain.fits`."""
        return type(value) is bytes and self.shortest <= len(value) <= self.longest

    def problem(self, value: object) -> Mismatch:
        """See :meth:`Plain.problem`."""
        if type(value) is not bytes:
            return Mismatch("bytes", kind_of(value))
        return Mismatch(self.rule, f"{len(value)} bytes")


class Text(Plain[str]):
    """Text of at most ``longest`` characters that ``suits``; ``rule`` describes such a text."""

    def __init__(
        self, longest: int, rule: str = "", suits: Callable[[str], bool] | None = None
    ) -> None:
        self._longest = longest
        self._suits = suits
        self.rule = rule or f"text of at most {longest} characters"

    def fits(self, value: object) -> TypeGuard[str]:
        """See :meth:`Plain.fits`."""
        return (
            type(value) is str
            and len(value) <= self._longest
            and (self._suits is None or self._suits(value))
        )

    def problem(self, value: object) -> Mismatch:
        """See :meth:`Plain.problem`."""
        if type(value) is not str:
            return Mismatch("text", kind_of(value))
        if self._suits is None:
            return Mismatch(f"at most {self._longest} characters", len(value))
        return Mismatch(self.rule, repr(value[:_SHOWN]))


class Word(Plain[str]):
    """One of ``words``; a later version may have more of them, so another one is UNKNOWN."""

    def __init__(self, words: Sequence[str], code: int = UNKNOWN) -> None:
        self._words = frozenset(words)
        self._code = code
        self.rule = ", ".join(words)

    def fits(self, value: object) -> TypeGuard[str]:
        """See :meth:`Plain.fits`."""
        return type(value) is str and value in self._words

    def problem(self, value: object) -> Mismatch:
        """See :meth:`Plain.problem`."""
        if type(value) is not str:
            return Mismatch("text", kind_of(value))
        return Mismatch(self.rule, repr(value[:_SHOWN]), self._code)


class OrNull(FieldCheck[T | None]):
    """What another check lets through, or null."""

    def __init__(self, check: FieldCheck[T]) -> None:
        self._check = check
        self.rule = f"{check.rule}, or null"

    def pack(self, value: object, field: str) -> object:
        """See :meth:`FieldCheck.pack`."""
        return None if value is None else self._check.pack(value, field)

    def unpack(self, item: Item, field: str, at: int) -> T | None:
        """See :meth:`FieldCheck.unpack`."""
        return None if item is None else self._check.unpack(item, field, at)


class Integers(FieldCheck[tuple[int, ...]]):
    """An array of ``shortest`` to ``longest`` integers; ``element`` is the rule of each."""

    def __init__(self, element: Integer, shortest: int, longest: int) -> None:
        self._element = element
        self._shortest = shortest
        self._longest = longest
        self.rule = f"array of {shortest:,} to {longest:,} integers, each {element.rule}"

    def pack(self, value: object, field: str) -> object:
        """See :meth:`FieldCheck.pack`."""
        if not isinstance(value, (list, tuple)):
            raise LocalError(BAD_VALUE, field, -1, "array", kind_of(value))
        if not self._shortest <= len(value) <= self._longest:
            limits = f"{_range(self._shortest, self._longest)} elements"
            raise LocalError(BAD_VALUE, field, -1, limits, len(value))
        if not self._all_fit(value):
            for element in value:
                self._element.pack(element, f"element of {field}")
        return list(value)

    def unpack(self, item: Item, field: str, at: int) -> tuple[int, ...]:
        """See :meth:`FieldCheck.unpack`."""
        elements = array(item, field, at, self._shortest, self._longest)
        if self._all_fit(elements):
            return tuple(elements)
        return tuple(self._element.unpack(one, f"element of {field}", at) for one in elements)

    def _all_fit(self, value: Sequence[object]) -> TypeGuard[Sequence[int]]:
        """Return whether every element fits; a batch has thousands of them, so not one by one."""
        if set(map(type, value)) != {int}:
            return False
        numbers: Sequence[int] = value  # type: ignore[assignment]  # the line before proved it
        return self._element.fits(min(numbers)) and self._element.fits(max(numbers))


IDENTIFIER: Final = Text(MAX_IDENTIFIER_LENGTH, IDENTIFIER_RULE, is_identifier)


def is_name(value: str) -> bool:
    """Return whether ``value`` can be a SenML name below a device."""
    return _NAME.fullmatch(value) is not None


def is_unit(value: str) -> bool:
    """Return whether ``value`` has the form of a registered SenML unit (``Cel``, ``ug/m3``)."""
    return _UNIT.fullmatch(value) is not None


def wrong(field: str, at: int, expected: object, got: object) -> FormatError:
    """Return the error for a field that holds something else."""
    return FormatError(BAD_VALUE, field, at, expected, got)


def array(item: Item, field: str, at: int, shortest: int, longest: int) -> list[Item]:
    """Return ``item`` if it is an array of ``shortest`` to ``longest`` elements. FormatError."""
    if not isinstance(item, list):
        raise wrong(field, at, "array", kind_of(item))
    if not shortest <= len(item) <= longest:
        raise wrong(field, at, f"{_range(shortest, longest)} elements", len(item))
    return item


def mapping(item: Item, field: str, at: int) -> dict[int | str, Item]:
    """Return ``item`` if it is a map. FormatError."""
    if not isinstance(item, dict):
        raise wrong(field, at, "map", kind_of(item))
    return item


def _range(low: int, high: int) -> str:
    return str(low) if low == high else f"{low} to {high}"


def _number(value: int) -> str:
    """Return a limit as people write it: large ones as a power of two."""
    power = value.bit_length()
    return f"2^{power} - 1" if power > 31 and value == (1 << power) - 1 else f"{value:,}"
