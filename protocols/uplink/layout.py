"""Layouts: the fields of a format, in order, each with its check, in one table.

The writer packs by the table, the reader unpacks by it, and ``docs/formats.md`` prints it, so a
format's fields are written down once.
"""

from collections.abc import Callable
from itertools import repeat
from operator import attrgetter, call
from typing import Final, Generic, TypeVar

from msgspec import Struct

from protocols.wire.errors import LocalError

from .cbor import Item
from .checks import FieldCheck, Mismatch, array
from .errors import FormatError

T = TypeVar("T")


class FormatField(Struct, frozen=True):
    """One field. ``meaning`` describes it in ``docs/formats.md``."""

    name: str
    check: FieldCheck[object]
    meaning: str


class Layout(FieldCheck[T], Generic[T]):
    """An array of fields that stands for one value.

    ``make`` gets the fields' values in order and returns the value; ``take`` does the reverse, and
    reads the attributes named like the fields if it is left out. ``agree`` returns what is wrong
    between fields that are each right by themselves, None if nothing is.
    """

    def __init__(
        self,
        make: Callable[..., T],
        *fields: FormatField,
        take: Callable[[T], tuple[object, ...]] | None = None,
        agree: Callable[[T], Mismatch | None] | None = None,
    ) -> None:
        self.fields: Final = fields
        self.rule = f"array of {len(fields)}"
        self._make = make
        self._take = take or attrgetter(*(field.name for field in fields))
        self._agree = agree
        self._names: Final = [field.name for field in fields]
        self._packers: Final = [field.check.pack for field in fields]
        self._unpackers: Final = [field.check.unpack for field in fields]

    def pack(self, value: object, field: str) -> list[object]:
        """Return the items of ``value``, a ``T``. LocalError for a field out of range."""
        own: T = value  # type: ignore[assignment]  # FieldCheck.pack takes whatever a field holds
        items = list(map(call, self._packers, self._take(own), self._names))
        problem = self._agree(own) if self._agree is not None else None
        if problem is not None:
            raise LocalError(problem.code, problem.field, -1, problem.expected, problem.got)
        return items

    def unpack(self, item: Item, field: str, at: int) -> T:
        """Return the value of an array; ``at`` is where it was decoded. FormatError."""
        items = array(item, field, at, len(self.fields), len(self.fields))
        value = self._make(*map(call, self._unpackers, items, self._names, repeat(at)))
        problem = self._agree(value) if self._agree is not None else None
        if problem is not None:
            raise FormatError(problem.code, problem.field, at, problem.expected, problem.got)
        return value
