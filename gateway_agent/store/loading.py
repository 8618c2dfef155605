"""Read a whole outbox file and prove its chain, at every start and before a copy replaces it."""

import sqlite3

from protocols.uplink import fold

from . import database, group_table
from .errors import StoreDamaged
from .group import Group
from .state import BASE, Base, OutboxState, anchors_of, earlier_of, marks_of


def load(connection: sqlite3.Connection) -> OutboxState:
    """Read the database; StoreDamaged if anything in it is not what was written."""
    with database.proving():
        state, bad = database.read_state(connection)
    if BASE not in state or bad:
        raise StoreDamaged(f"state: {', '.join(bad) or 'the receipted position is gone'}")
    base = Base.unpack(state[BASE])
    last, head = base.to, base.head
    expected: int | None = None
    with database.proving():
        for group in group_table.all_groups(connection):
            if expected is None:
                _check_first(group, base)
            elif group.first != expected or group.prev != head:
                raise StoreDamaged(f"group {group.first} does not follow record {expected - 1}")
            expected = group.last + 1
            last, head = group.last, group.head
    return OutboxState(base, last, head, marks_of(state), anchors_of(state), earlier_of(state))


def _check_first(group: Group, base: Base) -> None:
    skipped = base.to + 1 - group.first
    if not 0 <= skipped < len(group.records):
        raise StoreDamaged(f"group {group.first} does not follow receipted record {base.to}")
    if fold(group.prev, [record.data for record in group.records[:skipped]]) != base.head:
        raise StoreDamaged(f"group {group.first} does not continue the receipted chain")
