"""Read a whole outbox file and prove its chain, at every start and before a copy replaces it."""

import sqlite3

from protocols.uplink import fold

from . import database, group_table
from .errors import StoreDamaged
from .exports import cursors_of, in_stream
from .group import ChainPart
from .state import BASE, Base, OutboxState, anchors_of, earlier_of, marks_of


def load(connection: sqlite3.Connection) -> OutboxState:
    """Read the database; StoreDamaged if anything in it is not what was written."""
    with database.proving():
        state, bad = database.read_state(connection)
    if BASE not in state or bad:
        raise StoreDamaged(f"state: {', '.join(bad) or 'the receipted position is gone'}")
    base = Base.unpack(state[BASE])
    last, head, gone_to = base.to, base.head, base.to
    expected: int | None = None
    with database.proving():
        for group in group_table.all_parts(connection):
            if expected is None:
                gone_to = min(gone_to, group.first - 1)
            elif group.first != expected or group.prev != head:
                raise StoreDamaged(f"group {group.first} does not follow record {expected - 1}")
            _check_base(connection, group, base, expected is None)
            expected = group.last + 1
            last, head = group.last, group.head
    if last < base.to:
        raise StoreDamaged(f"the chain ends at record {last}, before receipted record {base.to}")
    earlier = earlier_of(state)
    cursors = {
        name: in_stream(cursor, base.stream, earlier) for name, cursor in cursors_of(state).items()
    }
    return OutboxState(
        base, last, head, marks_of(state), anchors_of(state), earlier, gone_to, cursors
    )


def _check_base(
    connection: sqlite3.Connection, group: ChainPart, base: Base, is_first: bool
) -> None:
    """Check that the receipted position lies on the chain, in the groups beside it."""
    skipped = base.to + 1 - group.first
    if is_first and skipped < 0:
        raise StoreDamaged(f"group {group.first} does not follow receipted record {base.to}")
    if not 0 <= skipped <= group.last + 1 - group.first:
        return
    whole = group_table.group_at(connection, group.first)
    before = [] if whole is None else [record.data for record in whole.records[:skipped]]
    if whole is None or fold(group.prev, before) != base.head:
        raise StoreDamaged(f"group {group.first} does not continue the receipted chain")
