"""Date records by the best anchor of their boot: one rule for the commit, the migration, the audit.

A record has the time that its gateway knew when it was made, or none. An anchor in a batch's header
ties the boot's own time to wall time, with a bound; a record far from it adds the drift of a free
running crystal. Per gateway and boot one anchor dates at a time; these are in the table
``anchors``:

* A batch's anchor takes over if it improves the time that the present one gives for its moment.
* A new record is dated by the anchor that dates when its batch is committed. An anchor that takes
  over dates the earlier records too, where it gives a smaller bound than the one before it.
* A time is improved if there was none, or if the bound becomes half as large at least and the two
  agree within their bounds. A time of a synchronised clock, to within SETTLED_MS, stays as it is.
* A word that contradicts what dates changes nothing, and is counted.
"""

import sqlite3
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Final, NamedTuple

from gateway_agent.clock import DRIFT_PPM, drift_ms
from protocols.uplink import CLOCK_NAMES, CLOCK_SYNCHRONISED, Anchor, BatchHeader

from .rows import Row
from .schema import SETTLED_MS, TO_DATE

CONTRADICTED: Final = "times_contradicted"  # counter: anchors not taken, records left as they were
PART: Final = 5000  # records that get another time in one transaction
_TOLERANCE_MS: Final = 1000  # a receipt's time has the collector's own error, which nobody knows
_ROUNDING_MS: Final = 20_000  # by so much of the boot the reach of an anchor is searched wider
_EVER: Final = (1 << 62) - 1
_TIME: Final = slice(4, 7)  # of a row of ``records``: time_ms, unc_ms, clock
_RESP_MS: Final = 12
_SYNCHRONISED: Final = CLOCK_NAMES[CLOCK_SYNCHRONISED]
_COLUMNS: Final = "number, mono_ms, wall_ms, unc_ms, clock, todo_ms"


class Dated(NamedTuple):
    """A time with its bound and where it came from, as a row of ``records`` has them."""

    time_ms: int | None
    unc_ms: int
    clock: str

    @property
    def is_settled(self) -> bool:
        """Return whether no anchor needs to improve it."""
        return self.clock == _SYNCHRONISED and self.unc_ms <= SETTLED_MS

    def improved_by(self, offered: "Dated") -> bool:
        """Return whether ``offered`` is to take its place."""
        if self.time_ms is None:
            return offered.time_ms is not None
        if self.is_settled or not 2 * offered.unc_ms <= self.unc_ms > 0:
            return False
        return self._apart_ms(offered) <= 0

    def contradicts(self, other: "Dated") -> bool:
        """Return whether both cannot be true."""
        return self._apart_ms(other) > _TOLERANCE_MS

    def _apart_ms(self, other: "Dated") -> int:
        if self.time_ms is None or other.time_ms is None:
            return 0
        return abs(self.time_ms - other.time_ms) - self.unc_ms - other.unc_ms


class DatingAnchor(NamedTuple):
    """A row of ``anchors``; ``number`` is that of the batch that brought it.

    Records of earlier batches that were made up to ``todo_ms`` are still to be dated; None: none.
    """

    number: int
    mono_ms: int
    wall_ms: int
    unc_ms: int
    clock: str
    todo_ms: int | None = None

    def at(self, resp_ms: int) -> Dated:
        """Return the time that it gives for a moment of its boot."""
        elapsed = resp_ms - self.mono_ms
        return Dated(self.wall_ms + elapsed, self.unc_ms + drift_ms(elapsed), self.clock)

    def agrees(self, time: Dated, resp_ms: int) -> bool:
        """Return whether it does not contradict a time of that moment, whatever its own drift."""
        if time.time_ms is None:
            return True
        apart_ms = abs(self.wall_ms + resp_ms - self.mono_ms - time.time_ms)
        return apart_ms <= self.unc_ms + time.unc_ms + _TOLERANCE_MS


def succeeds(present: DatingAnchor | None, anchor: Anchor, number: int) -> DatingAnchor | None:
    """Return the anchor of batch ``number`` if it dates from now on; None if ``present`` does."""
    if anchor.wall_ms is None:
        return None
    offered = DatingAnchor(
        number, anchor.mono_ms, anchor.wall_ms, anchor.unc_ms, CLOCK_NAMES[anchor.clock_state]
    )
    if present is None or present.at(anchor.mono_ms).improved_by(offered.at(anchor.mono_ms)):
        return offered
    return None


def is_contradicted(present: DatingAnchor | None, anchor: Anchor) -> bool:
    """Return whether an anchor cannot be true if the present one is."""
    if present is None:
        return False
    here = Dated(anchor.wall_ms, anchor.unc_ms, CLOCK_NAMES[anchor.clock_state])
    return present.at(anchor.mono_ms).contradicts(here)


def fold(own: Dated, resp_ms: int, number: int, anchors: Sequence[DatingAnchor]) -> Dated:
    """Return the time of a record of batch ``number``: its own, or what anchors have made of it.

    ``anchors``: all that dated its boot, in their order.
    """
    begin = bisect_right(anchors, number, key=lambda anchor: anchor.number)
    before = anchors[begin - 1] if begin else None
    time = own if before is None else _better(own, before.at(resp_ms))
    for anchor in anchors[begin:]:
        if time.is_settled:
            break
        is_due = anchor.todo_ms is not None and resp_ms <= anchor.todo_ms
        if not is_due and _gains(anchor, before, resp_ms):
            time = _better(time, anchor.at(resp_ms))
        before = anchor
    return time


def _better(time: Dated, offered: Dated) -> Dated:
    return offered if time.improved_by(offered) else time


def _gains(anchor: DatingAnchor, before: DatingAnchor | None, resp_ms: int) -> bool:
    """Return whether an anchor gives a smaller bound for a moment than the one before it."""
    return before is None or anchor.at(resp_ms).unc_ms < before.at(resp_ms).unc_ms


def _reach(anchor: DatingAnchor, before: DatingAnchor | None) -> tuple[int, int]:
    """Return from when to when in its boot an anchor gains, at the most."""
    if before is None:
        return -_EVER, _EVER
    # Both bounds grow with the same drift: they are equal at one moment between the two anchors.
    farther = (anchor.unc_ms - before.unc_ms) * 1_000_000 // DRIFT_PPM
    middle = (anchor.mono_ms + before.mono_ms) // 2
    if anchor.mono_ms >= before.mono_ms:
        return middle + farther // 2 - _ROUNDING_MS, _EVER
    return -_EVER, middle - farther // 2 + _ROUNDING_MS


def is_settled(row: Row) -> bool:
    """Return whether the time in a row of ``records`` stays whatever anchors there are."""
    time_ms, unc_ms, clock = row[_TIME]
    return clock == _SYNCHRONISED and time_ms is not None and unc_ms <= SETTLED_MS  # type: ignore[operator] # a number


def own_time(row: Row) -> tuple[Dated, int]:
    """Return the time in a row of ``records`` and its moment in the boot."""
    time_ms, unc_ms, clock = row[_TIME]
    resp_ms = row[_RESP_MS]
    assert time_ms is None or isinstance(time_ms, int)
    assert isinstance(unc_ms, int)
    assert isinstance(resp_ms, int)
    return Dated(time_ms, unc_ms, str(clock)), resp_ms


def with_time(row: Row, time: Dated) -> Row:
    """Return a row of ``records`` with another time."""
    return (*row[: _TIME.start], *time, *row[_TIME.stop :])


def anchors_of(connection: sqlite3.Connection, gateway: str, boot_id: bytes) -> list[DatingAnchor]:
    """Return the anchors that date a boot, in their order."""
    return [
        DatingAnchor(*row)
        for row in connection.execute(
            f"SELECT {_COLUMNS} FROM anchors WHERE gateway = ? AND boot_id = ? ORDER BY number",  # noqa: S608 # ours
            (gateway, boot_id),
        )
    ]


class Dating:
    """Date the records of a database, inside the caller's transactions."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._present: DatingAnchor | None = None  # of the boot of the batch that was entered
        self.contradicted = 0  # since the batch was entered

    def enter(self, header: BatchHeader, number: int) -> None:
        """Take the anchor of a batch, whose records come to :meth:`date`."""
        key = (header.gateway, header.anchor.boot_id)
        row = self._db.execute(
            f"SELECT {_COLUMNS} FROM anchors WHERE gateway = ? AND boot_id = ?"  # noqa: S608 # ours
            " ORDER BY number DESC LIMIT 1",
            key,
        ).fetchone()
        before = DatingAnchor(*row) if row else None
        self.contradicted = int(is_contradicted(before, header.anchor))
        successor = succeeds(before, header.anchor, number)
        self._present = successor or before
        if successor is not None:
            values = (*key, *successor[:-1], _reach(successor, before)[1])
            self._db.execute("INSERT INTO anchors VALUES (?,?,?,?,?,?,?,?)", values)

    def date(self, row: Row) -> Row:
        """Return a new row of ``records`` with its best time."""
        if self._present is None:
            return row
        own, resp_ms = own_time(row)
        if own.is_settled and self._present.agrees(own, resp_ms):
            return row  # nearly every record
        offered = self._present.at(resp_ms)
        if own.improved_by(offered):
            return with_time(row, offered)
        self.contradicted += own.contradicts(offered)
        return row

    def is_due(self) -> bool:
        """Return whether earlier records are to be dated: :meth:`date_part` does it, in parts."""
        return self._due() is not None

    def _due(self) -> tuple[str, bytes, int] | None:
        found: tuple[str, bytes, int] | None = self._db.execute(
            "SELECT gateway, boot_id, number FROM anchors WHERE todo_ms IS NOT NULL"
            " ORDER BY number LIMIT 1"
        ).fetchone()
        return found

    def date_part(self) -> int:
        """Date some of the earlier records anew; return how many contradict their anchor."""
        due = self._due()
        if due is None:
            return 0
        gateway, boot_id, number = due
        anchors = anchors_of(self._db, gateway, boot_id)
        at = bisect_left(anchors, number, key=lambda anchor: anchor.number)
        anchor, before = anchors[at], anchors[at - 1] if at else None
        assert anchor.todo_ms is not None
        lowest = _reach(anchor, before)[0]
        where = f" FROM records WHERE boot_id = ? AND ({TO_DATE}) AND resp_ms BETWEEN ? AND ?"
        row = self._db.execute(
            f"SELECT resp_ms{where} ORDER BY resp_ms DESC LIMIT 1 OFFSET ?",
            (boot_id, lowest, anchor.todo_ms, PART - 1),
        ).fetchone()
        low = lowest if row is None else row[0]
        contradicted, changes = 0, []
        rows = self._db.execute(
            f"SELECT stream_id, seq, resp_ms, time_ms, unc_ms, clock{where}"  # noqa: S608 # ours
            " AND stream_id IN (SELECT id FROM streams WHERE gateway = ?)",
            (boot_id, low, anchor.todo_ms, gateway),
        )
        for stream_id, seq, resp_ms, *time in rows:
            own, offered = Dated(*time), anchor.at(resp_ms)
            if not _gains(anchor, before, resp_ms):
                continue
            if own.improved_by(offered):
                changes.append((*offered, stream_id, seq))
            else:
                contradicted += own.contradicts(offered)
        self._db.executemany(
            "UPDATE records SET time_ms = ?, unc_ms = ?, clock = ? WHERE stream_id = ? AND seq = ?",
            changes,
        )
        todo = None if row is None else low - 1
        self._db.execute("UPDATE anchors SET todo_ms = ? WHERE number = ?", (todo, number))
        return contradicted
