"""Select the records of the next batch: consecutive ones of one boot, within limits.

:func:`take` reads groups only as far as it needs them, so damage behind the window is not met
before its own turn, and a long backlog costs no memory.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from protocols.uplink import Anchor, EarlierStream, Record, fold

from .group import Group


class Limits(NamedTuple):
    """At most ``records`` records (at least 1) of together at most ``size`` bytes."""

    records: int
    size: int


class Window(NamedTuple):
    """Consecutive records of one boot; ``prev`` and ``head``: the chain before and after them."""

    boot_id: bytes
    prev: bytes
    head: bytes
    records: tuple[Record, ...]


class Slice(NamedTuple):
    """A window with its place in ``stream`` and the clock anchor of its boot."""

    stream: int
    first: int
    last: int
    prev: bytes
    head: bytes
    records: tuple[Record, ...]
    anchor: Anchor
    earlier: tuple[EarlierStream, ...] = ()  # streams before this one, with its first record


def take(groups: Iterable[Group], after: int, limits: Limits) -> Window | None:
    """Take the records that follow sequence number ``after``, as many as the limits allow.

    ``groups`` rise and begin with the one that holds record ``after + 1``; None if that record is
    in none of them. The first record is taken whatever its size. The window ends where the boot
    changes, and where a group does not continue the chain.
    """
    taken: list[Record] = []
    room = limits
    boot_id = prev = head = b""
    for group in groups:
        records: Sequence[Record] = group.records
        if not taken:
            skip = after + 1 - group.first
            if not 0 <= skip < len(records):
                return None
            boot_id, records = group.boot_id, records[skip:]
            prev = head = fold(group.prev, [record.data for record in group.records[:skip]])
        elif group.boot_id != boot_id or group.prev != head:
            break
        size = sum([len(record.data) for record in records])
        if len(records) > room.records or size > room.size:
            fitting = _fitting(records, room) or (0 if taken else 1)
            taken += records[:fitting]
            head = fold(head, [record.data for record in records[:fitting]])
            break
        taken += records
        head = group.head
        room = Limits(room.records - len(records), room.size - size)
        if not room.records or not room.size:
            break
    return Window(boot_id, prev, head, tuple(taken)) if taken else None


def _fitting(records: Sequence[Record], room: Limits) -> int:
    """Count how many of ``records``, which do not all fit, have room."""
    size = 0
    for count, record in enumerate(records[: room.records]):
        size += len(record.data)
        if size > room.size:
            return count
    return room.records
