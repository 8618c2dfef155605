"""A mark records how far a device was read, in the same commit as the records it covers.

It is stored as numbers, little endian: the node, the slots, then an outage and what was missed.
"""

import struct
from typing import Final, NamedTuple

from protocols.uplink import CAUSES

_NODE: Final = struct.Struct("<QQQQ")
# boot id, due, period, wall (_NONE: not known), uncertainty, 1 if an outage follows
_SLOTS: Final = struct.Struct("<16sqIqQB")
_OUTAGE: Final = struct.Struct("<qQIq")
_MISSED: Final = struct.Struct("<Bqqq")  # index of the cause, slots, from, to
_NONE: Final = -(1 << 63)
_CAUSE_INDEX: Final = {cause: index for index, cause in enumerate(CAUSES)}


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
        boot_id, due_ms, period_ms, wall_ms, unc_ms, missed, outage = slots
        if wall_ms is None:
            wall_ms = _NONE
        value = node + _SLOTS.pack(boot_id, due_ms, period_ms, wall_ms, unc_ms, outage is not None)
        if outage is not None:
            value += _OUTAGE.pack(*outage)
        for cause, *numbers in missed:
            filled = [_NONE if number is None else number for number in numbers]
            value += _MISSED.pack(_CAUSE_INDEX[cause], *filled)
        return value

    @classmethod
    def unpack(cls, value: bytes) -> "Mark":
        """Read the value of a sealed row.

        The first outboxes stored no key id; the missing number reads as 0, which means "not known".
        """
        node = _NODE.unpack(value[: _NODE.size].ljust(_NODE.size, b"\0"))
        if len(value) <= _NODE.size:
            return cls(*node)
        at = _NODE.size + _SLOTS.size
        boot_id, due_ms, period_ms, wall_ms, unc_ms, is_out = _SLOTS.unpack_from(value, _NODE.size)
        outage = None
        if is_out:
            outage = UncountedOutage(*_OUTAGE.unpack_from(value, at))
            at += _OUTAGE.size
        missed = tuple(
            MissedSlots(CAUSES[cause], *(None if number == _NONE else number for number in rest))
            for cause, *rest in _MISSED.iter_unpack(value[at:])
        )
        wall = None if wall_ms == _NONE else wall_ms
        slots = SlotMark(boot_id, due_ms, period_ms, wall, unc_ms, missed, outage)
        return cls(*node)._replace(slots=slots)
