"""What the outbox stores beside its records: the receipted position, marks and clock anchors.

Each is one sealed row of the table ``state`` (see :mod:`.database`): ``base``,
``mark/<device id>``, ``anchor/<boot id in hex>``. Numbers are little endian.
"""

import secrets
import struct
from collections.abc import Mapping
from typing import Final, NamedTuple

from gateway_agent.clock import Clock
from protocols.uplink.batch import Anchor
from protocols.uplink.chain import GENESIS
from protocols.uplink.record import Gap, Record, Stamp, gap_record

from .mark import Mark

BASE: Final = "base"
_BASE: Final = struct.Struct("<QQ32s")
_MARK: Final = struct.Struct("<QQQQ")
_ANCHOR: Final = struct.Struct("<16sQqQB")  # boot id, mono, wall (-1: none), uncertainty, state


class Base(NamedTuple):
    """The stream, and how far it is receipted: ``head`` is the chain's head after record ``to``."""

    stream: int
    to: int
    head: bytes

    def pack(self) -> bytes:
        """As it is stored."""
        return _BASE.pack(*self)

    @classmethod
    def unpack(cls, value: bytes) -> "Base":
        """From a sealed row."""
        return cls(*_BASE.unpack(value))


def new_stream(before: int) -> Base:
    """The beginning of a stream that comes after ``before`` (0: the first of this outbox).

    The high half of the id is an epoch that rises, so that ids sort; the low half is random, so
    that a gateway that lost everything, or a copy of one, cannot take an id that was used.
    """
    return Base(((before >> 32) + 1) << 32 | secrets.randbits(32), 0, GENESIS)


def mark_row(device: str, mark: Mark) -> tuple[str, bytes]:
    """Name and value of a mark's row."""
    return f"mark/{device}", _MARK.pack(*mark)


def marks_of(state: Mapping[str, bytes]) -> dict[str, Mark]:
    """The marks among the sealed values."""
    return {
        # Without its last number in outboxes of before marks had a key: 0 is "not known".
        name.removeprefix("mark/"): Mark(*_MARK.unpack(value.ljust(_MARK.size, b"\0")))
        for name, value in state.items()
        if name.startswith("mark/")
    }


def anchor_name(boot_id: bytes) -> str:
    """Name of the row of a boot's anchor."""
    return f"anchor/{boot_id.hex()}"


def anchor_row(anchor: Anchor) -> tuple[str, bytes]:
    """Name and value of an anchor's row."""
    wall = -1 if anchor.wall_ms is None else anchor.wall_ms
    value = _ANCHOR.pack(anchor.boot_id, anchor.mono_ms, wall, anchor.unc_ms, anchor.clock_state)
    return anchor_name(anchor.boot_id), value


def anchors_of(state: Mapping[str, bytes]) -> dict[bytes, Anchor]:
    """The anchors among the sealed values, by boot id."""
    anchors = {}
    for name, value in state.items():
        if name.startswith("anchor/"):
            boot_id, mono, wall, unc, clock = _ANCHOR.unpack(value)
            anchors[boot_id] = Anchor(boot_id, mono, None if wall < 0 else wall, unc, clock)
    return anchors


def anchor_now(clock: Clock) -> Anchor:
    """How this boot's monotonic time stands to wall time now."""
    wall = clock.wall()
    return Anchor(clock.boot_id, clock.boot_ms(), wall.wall_ms, wall.unc_ms, wall.state)


def own_gap(gateway: str, clock: Clock, gap: Gap) -> Record:
    """A GAP record of the gateway itself, stamped now."""
    now, wall = clock.boot_ms(), clock.wall()
    return gap_record(gateway, gap, Stamp(now, now, wall.wall_ms, wall.unc_ms, wall.state))
