"""A mark records how far a device was read, in the same commit as the records it covers.

It is stored as numbers, little endian, and what is rarely there as CBOR behind them.
"""

import struct
from typing import Final, NamedTuple

import cbor2

_NODE: Final = struct.Struct("<QQQQ")
_SLOTS: Final = struct.Struct("<16sqIqQ")  # boot id, due, period, wall (-1: none), uncertainty


class MissedSlots(NamedTuple):
    """``slots`` polls that gave no reading for one cause, due from ``from_ms`` to ``to_ms``.

    ``slots`` is None, and the times with it, for an outage whose length is not known.
    """

    cause: str
    slots: int | None
    from_ms: int | None
    to_ms: int | None


class UncountedOutage(NamedTuple):
    """An outage of the gateway that is in a gap already, but whose polls are not counted yet.

    The clock was not set when the gateway came back. The first missed poll was due at the Unix time
    ``wall_ms``, give or take ``unc_ms``; the polls of this boot begin at ``to_ms``.
    """

    wall_ms: int
    unc_ms: int
    period_ms: int
    to_ms: int


class SlotMark(NamedTuple):
    """The polls of one device up to the commit: ``due_ms`` is the first one not accounted for.

    Times are CLOCK_BOOTTIME of the boot ``boot_id``. ``wall_ms``: Unix time of ``due_ms``, give or
    take ``unc_ms``; None if the clock was not set. ``period_ms`` is 0 for a device that is no
    longer polled. ``missed``: polls before ``due_ms`` that are in no record yet.
    """

    boot_id: bytes
    due_ms: int
    period_ms: int
    wall_ms: int | None
    unc_ms: int
    missed: tuple[MissedSlots, ...] = ()
    outage: UncountedOutage | None = None


class Mark(NamedTuple):
    """The last boot epoch, sample and event sequence (u32 each) taken from one node.

    They hold for the key ``key_id`` (1 to 65535; 0: not known) alone: a node that gets a new key
    may have lost everything it had stored, its boot epoch with it. They are 0 for a third-party
    device. ``slots``: its polls; None in a mark of an older outbox.
    """

    boot_epoch: int
    sample_seq: int
    event_seq: int
    key_id: int = 0
    slots: SlotMark | None = None

    def pack(self) -> bytes:
        """Return the value as it is stored."""
        node, slots = _NODE.pack(*self[:4]), self.slots
        if slots is None:
            return node
        wall_ms = -1 if slots.wall_ms is None else slots.wall_ms
        numbers = _SLOTS.pack(*slots[:3], wall_ms, slots.unc_ms)
        if not slots.missed and slots.outage is None:
            return node + numbers
        return node + numbers + cbor2.dumps([slots.missed, slots.outage])

    @classmethod
    def unpack(cls, value: bytes) -> "Mark":
        """Read the value of a sealed row.

        The first outboxes stored no key id; the missing number reads as 0, which means "not known".
        """
        node = _NODE.unpack(value[: _NODE.size].ljust(_NODE.size, b"\0"))
        if len(value) <= _NODE.size:
            return cls(*node)
        boot_id, due_ms, period_ms, wall_ms, unc_ms = _SLOTS.unpack_from(value, _NODE.size)
        rest = value[_NODE.size + _SLOTS.size :]
        missed, outage = cbor2.loads(rest) if rest else ((), None)
        slots = SlotMark(
            boot_id,
            due_ms,
            period_ms,
            None if wall_ms < 0 else wall_ms,
            unc_ms,
            tuple(MissedSlots(*item) for item in missed),
            None if outage is None else UncountedOutage(*outage),
        )
        return cls(*node)._replace(slots=slots)
