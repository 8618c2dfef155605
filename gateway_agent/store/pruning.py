"""Find what a receipt covers, and delete it.

A receipt may end inside a group. The group then stays, whole, until the rest of it is covered too;
the receipted position records how much of it is already delivered.
"""

import sqlite3
from collections.abc import Iterable
from typing import NamedTuple

from protocols.uplink import fold

from . import database, group_table
from .errors import ReceiptRefused, StoreDamaged
from .group import readings_of
from .state import BASE, Base, OutboxState, anchor_name


class Pruned(NamedTuple):
    """What was deleted because a receipt covers it."""

    records: int
    readings: int


class Covered(NamedTuple):
    """What follows the receipted position up to a record, and the chain's head after it."""

    records: int
    readings: int
    head: bytes


def checked(connection: sqlite3.Connection, state: OutboxState, to: int, head: bytes) -> Covered:
    """Count what is covered if everything up to record ``to`` is delivered.

    ``head`` is the collector's at ``to``. ReceiptRefused if it is not ours or ``to`` is ahead of
    us; StoreDamaged if the group of record ``to`` is missing.
    """
    stream = state.base.stream
    if to > state.last:
        raise ReceiptRefused(
            f"the collector has records to {to} of stream {stream}, here it ends at {state.last}",
            True,
            to,
        )
    found = _covered(connection, state.base, to)
    if found.head != head:
        raise ReceiptRefused(
            f"the collector's head at record {to} of stream {stream} is {head.hex()[:16]}...,"
            f" ours is {found.head.hex()[:16]}...",
            False,
            to,
        )
    return found


def _covered(connection: sqlite3.Connection, base: Base, to: int) -> Covered:
    if to == base.to:
        return Covered(0, 0, base.head)
    readings = 0
    for first, sizes in group_table.sizes_between(connection, base.to + 1, to):
        skip = max(0, base.to + 1 - first)
        readings += sum(readings_of(sizes)[skip : to + 1 - first])
    group = group_table.group_holding(connection, to)
    if group is None:
        raise StoreDamaged(f"the group of record {to} is missing")
    head = group.head  # it was proved when the group was read
    if to < group.last:
        head = fold(group.prev, [record.data for record in group.records[: to + 1 - group.first]])
    return Covered(to - base.to, readings, head)


def prune(
    connection: sqlite3.Connection, base: Base, gone_to: int, last: int, boots: Iterable[bytes]
) -> list[bytes]:
    """Store ``base`` and delete the groups up to ``gone_to`` (inside the caller's transaction).

    ``last`` is the last record of the chain. The anchors of those ``boots`` that have no group any
    more are deleted too; their boot ids are returned.
    """
    if gone_to < last:
        group_table.delete_before(connection, gone_to + 1)
    else:
        group_table.delete_to(connection, gone_to)
    database.put_state(connection, BASE, base.pack())
    others = list(boots)
    if not others:
        return []
    kept = group_table.boots(connection)
    gone = [boot_id for boot_id in others if boot_id not in kept]
    for boot_id in gone:
        database.delete_state(connection, anchor_name(boot_id))
    return gone
