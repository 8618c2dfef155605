"""The outbox stores its receipted position, marks and clock anchors beside the records.

Each is one sealed row of the table ``state`` (see :mod:`.database`): ``base``,
``mark/<device id>``, ``anchor/<boot id in hex>``, ``earlier``, and ``export/<name>`` of
:mod:`.exports`. Numbers are little endian.
"""

import secrets
import struct
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from msgspec import Struct, field

from gateway_agent.clock import GatewayClock
from protocols.uplink import (
    GENESIS,
    MAX_EARLIER,
    Anchor,
    EarlierStream,
    Gap,
    Record,
    Stamp,
    gap_record,
)

from .exports import Cursor
from .head_file import ChainHead
from .mark import Mark

ANCHOR_MS: Final = 60_000  # a boot's clock anchor is written with a commit at most this often

BASE: Final = "base"
_BASE: Final = struct.Struct("<QQ32s")
EARLIER: Final = "earlier"
_EARLIER: Final = struct.Struct("<QQQ")
_ANCHOR: Final = struct.Struct("<16sQqQB")  # boot id, mono, wall (-1: none), uncertainty, state


class Base(NamedTuple):
    """The stream, and how far it is receipted: ``head`` is the chain's head after record ``to``."""

    stream: int
    to: int
    head: bytes

    def pack(self) -> bytes:
        """Return the value as it is stored."""
        return _BASE.pack(*self)

    @classmethod
    def unpack(cls, value: bytes) -> "Base":
        """Read the value of a sealed row."""
        return cls(*_BASE.unpack(value))


def pack_earlier(streams: Sequence[EarlierStream]) -> bytes:
    """Return the value of the row of streams that this outbox has left; the newest are kept."""
    return b"".join(
        _EARLIER.pack(one.stream, one.to, one.named_from) for one in streams[-MAX_EARLIER:]
    )


def earlier_of(state: Mapping[str, bytes]) -> tuple[EarlierStream, ...]:
    """Return the streams that this outbox has left, by the sealed values."""
    return tuple(EarlierStream(*row) for row in _EARLIER.iter_unpack(state.get(EARLIER, b"")))


class OutboxState(Struct):
    """What an open outbox keeps in memory: ``head`` is the chain's head after record ``last``.

    Records up to ``gone_to`` are deleted; those from there to ``base.to`` are kept for exporters.
    """

    base: Base
    last: int
    head: bytes
    marks: dict[str, Mark] = field(default_factory=dict)
    anchors: dict[bytes, Anchor] = field(default_factory=dict)
    earlier: tuple[EarlierStream, ...] = ()
    gone_to: int = 0
    cursors: dict[str, Cursor] = field(default_factory=dict)

    @property
    def chain_head(self) -> ChainHead:
        """Return where the chain ends, as the head file repeats it."""
        return ChainHead(self.base.stream, self.last, self.head)


def new_stream(before: int) -> Base:
    """Begin a stream that comes after ``before`` (0: the first of this outbox).

    The high half of the id is an epoch that rises, so that ids sort; the low half is random, so
    that a gateway that lost everything, or a copy of one, cannot take an id that was used.
    """
    return Base(((before >> 32) + 1) << 32 | secrets.randbits(32), 0, GENESIS)


def mark_row(device: str, mark: Mark) -> tuple[str, bytes]:
    """Return name and value of a mark's row."""
    return f"mark/{device}", mark.pack()


def marks_of(state: Mapping[str, bytes]) -> dict[str, Mark]:
    """Return the marks among the sealed values, by device id."""
    return {
        name.removeprefix("mark/"): Mark.unpack(value)
        for name, value in state.items()
        if name.startswith("mark/")
    }


def anchor_name(boot_id: bytes) -> str:
    """Return the name of the row of a boot's anchor."""
    return f"anchor/{boot_id.hex()}"


def anchor_row(anchor: Anchor) -> tuple[str, bytes]:
    """Return name and value of an anchor's row."""
    wall = -1 if anchor.wall_ms is None else anchor.wall_ms
    value = _ANCHOR.pack(anchor.boot_id, anchor.mono_ms, wall, anchor.unc_ms, anchor.clock_state)
    return anchor_name(anchor.boot_id), value


def anchors_of(state: Mapping[str, bytes]) -> dict[bytes, Anchor]:
    """Return the anchors among the sealed values, by boot id."""
    anchors = {}
    for name, value in state.items():
        if name.startswith("anchor/"):
            boot_id, mono, wall, unc, clock = _ANCHOR.unpack(value)
            anchors[boot_id] = Anchor(boot_id, mono, None if wall < 0 else wall, unc, clock)
    return anchors


def anchor_now(clock: GatewayClock) -> Anchor:
    """Read this boot's monotonic time and wall time together."""
    wall = clock.wall()
    return Anchor(clock.boot_id, clock.boot_ms(), wall.wall_ms, wall.unc_ms, wall.state)


def newer_anchor(clock: GatewayClock, stored: Anchor | None) -> Anchor | None:
    """Return this boot's anchor if it must be stored again; None if ``stored`` still serves."""
    anchor = anchor_now(clock)
    if stored is not None and stored.wall_ms is not None and anchor.wall_ms is None:
        return None
    if (
        stored is not None
        and anchor.mono_ms - stored.mono_ms < ANCHOR_MS
        and anchor.clock_state == stored.clock_state
    ):
        return None
    return anchor


def own_gap(gateway: str, clock: GatewayClock, gap: Gap) -> Record:
    """Make a GAP record of the gateway itself, stamped now."""
    now, wall = clock.boot_ms(), clock.wall()
    return gap_record(gateway, gap, Stamp(now, now, wall.wall_ms, wall.unc_ms, wall.state))
