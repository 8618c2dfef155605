"""Find how much of what is kept for an exporter must go because it is too old or too much."""

import sqlite3
from typing import Final, NamedTuple

from gateway_agent.clock import GatewayClock
from protocols.uplink import decode_record

from . import database, group_table
from .group import Group

_MOST_GROUPS: Final = 256  # looked at in one call: the outbox's thread has other work


class Keep(NamedTuple):
    """Records wait for an exporter for ``ms``, while the outbox uses up to ``size`` bytes."""

    ms: int
    size: int


def expired_to(
    connection: sqlite3.Connection, to: int, receipted_to: int, keep: Keep, clock: GatewayClock
) -> tuple[int, str] | None:
    """Return how far the records after ``to`` must go, and why; None if they may stay.

    Those behind ``receipted_to`` stay in any case.
    """
    if to >= receipted_to:
        return None
    used = _used_bytes(connection)
    found: tuple[int, str] | None = None
    for count, group in enumerate(group_table.groups_from(connection, to + 1)):
        cause = "bytes" if used > keep.size else "age" if _age_ms(group, clock) > keep.ms else ""
        if not cause or count == _MOST_GROUPS or (found is not None and cause != found[1]):
            break
        used -= sum(len(record.data) for record in group.records)
        found = min(group.last, receipted_to), cause
        if group.last >= receipted_to:
            break
    return found


def _used_bytes(connection: sqlite3.Connection) -> int:
    pages: int
    free: int
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    return (pages - free) * database.PAGE_BYTES


def _age_ms(group: Group, clock: GatewayClock) -> int:
    """Return the age of a group that the boot clock proves: of an earlier boot, this boot's."""
    now = clock.boot_ms()
    if group.boot_id != clock.boot_id:
        return now
    return now - decode_record(group.records[-1].data).stamp.resp_ms
