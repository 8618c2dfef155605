"""Exporters read the outbox beside the collector: how far each has come, and what it has lost.

Each is one sealed row ``export/<name>`` of the table ``state``. A cursor moves when the platform
has what an exporter sent, or when what is kept for it must go: that range is a loss, in the same
commit as the move. Records up to the smallest cursor of those that must have everything stay in
the outbox although a receipt covers them.
"""

import struct
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from protocols.uplink import EarlierStream

PREFIX: Final = "export/"
#: Why records were given up for an exporter. The place in the list is stored.
LOSS_CAUSES: Final = (
    "age",  # older than keep_hours
    "bytes",  # more than keep_bytes
    "room",  # the outbox had no room for new records
    "new_stream",  # the outbox was repaired, or the collector's receipt did not fit
    "not_required",  # delivered to the collector, and nobody asked to keep it
    "undated",  # no clock has ever vouched for the boot they are from
    "refused",  # the platform takes them in no form
    "stale",  # too old for a platform that has no history
)
MAX_LOSSES: Final = 16  # ranges that are kept by exporter, the newest
_CURSOR: Final = struct.Struct("<QQQ")
_LOSS: Final = struct.Struct("<QQQB")


class Loss(NamedTuple):
    """Records ``first`` to ``last`` of ``stream`` that an exporter will never get, and why."""

    stream: int
    first: int
    last: int
    cause: str  # one of LOSS_CAUSES


class Cursor(NamedTuple):
    """Every record of ``stream`` up to ``to`` is with the platform, or lost.

    ``lost`` records were lost at all times; ``losses`` are the newest ranges of them.
    """

    stream: int
    to: int
    lost: int = 0
    losses: tuple[Loss, ...] = ()

    def moved(self, to: int) -> "Cursor":
        """Return the cursor after a delivery up to ``to``."""
        return self._replace(to=max(to, self.to))

    def given_up(self, to: int, cause: str) -> "Cursor":
        """Return the cursor after the loss of everything up to ``to``."""
        if to <= self.to:
            return self
        return self.with_loss(Loss(self.stream, self.to + 1, to, cause))._replace(to=to)

    def with_loss(self, loss: Loss) -> "Cursor":
        """Return the cursor with one more range lost; it joins the one before where they touch."""
        before = self.losses
        if before and before[-1][:1] + before[-1][2:] == (loss.stream, loss.first - 1, loss.cause):
            loss = loss._replace(first=before[-1].first)
            before = before[:-1]
            count = loss.last - self.losses[-1].last
        else:
            count = loss.last - loss.first + 1
        return self._replace(lost=self.lost + count, losses=(*before, loss)[-MAX_LOSSES:])

    def row(self, name: str) -> tuple[str, bytes]:
        """Return name and value of the row of exporter ``name``."""
        value = _CURSOR.pack(self.stream, self.to, self.lost)
        for stream, first, last, cause in self.losses:
            value += _LOSS.pack(stream, first, last, LOSS_CAUSES.index(cause))
        return PREFIX + name, value


def cursors_of(state: Mapping[str, bytes]) -> dict[str, Cursor]:
    """Return the cursors among the sealed values, by exporter."""
    return {
        name.removeprefix(PREFIX): _read(value)
        for name, value in state.items()
        if name.startswith(PREFIX)
    }


def _read(value: bytes) -> Cursor:
    losses = tuple(
        Loss(stream, first, last, LOSS_CAUSES[min(cause, len(LOSS_CAUSES) - 1)])
        for stream, first, last, cause in _LOSS.iter_unpack(value[_CURSOR.size :])
    )
    stream, to, lost = _CURSOR.unpack_from(value)
    return Cursor(stream, to, lost, losses)


def in_stream(cursor: Cursor, stream: int, earlier: Iterable[EarlierStream]) -> Cursor:
    """Return a cursor for ``stream``; one of a stream before it begins anew.

    What the old stream had delivered to the collector and not to this exporter is lost.
    """
    if cursor.stream == stream:
        return cursor
    moved = cursor
    for one in earlier:
        if one.stream == cursor.stream and one.to > cursor.to:
            moved = cursor.with_loss(Loss(one.stream, cursor.to + 1, one.to, "new_stream"))
    return moved._replace(stream=stream, to=0)


class CarriedCursors:
    """Follows the cursors while the records of one stream are copied into another."""

    def __init__(self, cursors: Mapping[str, Cursor], stream: int, receipted_to: int) -> None:
        """``receipted_to``: what ``stream`` has up to there is not copied."""
        self._cursors: dict[str, Cursor] = {}
        for name, cursor in cursors.items():
            if cursor.stream == stream:
                self._cursors[name] = cursor.given_up(receipted_to, "new_stream")
        self._to = dict.fromkeys(self._cursors, 0)

    def copied(self, first: int, count: int, new_first: int) -> None:
        """Take note that ``count`` records from ``first`` on are now those from ``new_first``."""
        for name, cursor in self._cursors.items():
            passed = min(count, cursor.to - first + 1)
            if passed > 0:
                self._to[name] = new_first + passed - 1

    def rows(self, stream: int) -> list[tuple[str, bytes]]:
        """Return the rows for the new stream."""
        return [
            cursor._replace(stream=stream, to=self._to[name]).row(name)
            for name, cursor in self._cursors.items()
        ]
