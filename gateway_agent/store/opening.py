"""What a start reads and checks: everything, once, before anything is appended or sent."""

import sqlite3
from typing import NamedTuple

from protocols.uplink.batch import Anchor
from protocols.uplink.chain import fold

from . import database
from .errors import StoreDamaged
from .group import COLUMNS, Group, group_of
from .mark import Mark
from .state import BASE, Base, anchors_of, marks_of
from .witness import Witness


class TruncatedError(StoreDamaged):
    """The end of the chain is missing."""


class Loaded(NamedTuple):
    """A whole outbox: ``head`` is the chain's head after record ``last``."""

    base: Base
    last: int
    head: bytes
    marks: dict[str, Mark]
    anchors: dict[bytes, Anchor]


def is_empty(connection: sqlite3.Connection) -> bool:
    """Nothing was ever written: a process that died while it made the file."""
    with database.explained():
        (rows,) = connection.execute(
            "SELECT (SELECT count(*) FROM state) + (SELECT count(*) FROM groups)"
        ).fetchone()
    return not rows


def load(connection: sqlite3.Connection) -> Loaded:
    """Read the database; StoreDamaged if anything in it is not what was written."""
    with database.explained():
        state, bad = database.read_state(connection)
    if BASE not in state or bad:
        raise StoreDamaged(f"state: {', '.join(bad) or 'the receipted position is gone'}")
    base = Base.unpack(state[BASE])
    last, head = base.to, base.head
    expected: int | None = None
    with database.explained():
        for row in connection.execute(f"SELECT {COLUMNS} FROM groups ORDER BY first"):  # noqa: S608 # constant
            group = group_of(row)
            if expected is None:
                _check_first(group, base)
            elif group.first != expected or group.prev != head:
                raise StoreDamaged(f"group {group.first} does not follow record {expected - 1}")
            expected = group.last + 1
            last, head = group.last, group.head
    return Loaded(base, last, head, marks_of(state), anchors_of(state))


def _check_first(group: Group, base: Base) -> None:
    skipped = base.to + 1 - group.first
    if not 0 <= skipped < len(group.records):
        raise StoreDamaged(f"group {group.first} does not follow receipted record {base.to}")
    if fold(group.prev, [record.data for record in group.records[:skipped]]) != base.head:
        raise StoreDamaged(f"group {group.first} does not continue the receipted chain")


def compare(loaded: Loaded, seen: Witness | None) -> None:
    """Hold the database against its witness: TruncatedError, or StoreDamaged for another chain."""
    if seen is None:
        return
    stream = loaded.base.stream
    if seen.stream != stream:
        if seen.stream >> 32 > stream >> 32:
            raise TruncatedError(f"the witness knows stream {seen.stream}, the database does not")
        return  # died between a rebuild's rename and its witness
    if loaded.last < seen.last:
        raise TruncatedError(
            f"the database ends at record {loaded.last}, {seen.last} were written: truncated"
        )
    if loaded.last == seen.last and loaded.head != seen.head:
        raise StoreDamaged(f"the chain ends in another head than was written at {seen.last}")
