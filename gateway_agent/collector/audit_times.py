"""Prove the times of a database: which anchors date the records of a boot, and what they give."""

import sqlite3
from bisect import bisect_left
from collections.abc import Iterable, Iterator

from protocols.uplink import BatchHeader

from .audit_tables import MAX_TEXT, AuditFinding
from .dating import DatingAnchor, anchors_of, is_settled, own_time, succeeds, with_time
from .dating import fold as fold_time
from .rows import Row


class StoredTimes:
    """The anchors of a database that is not written meanwhile; ``anchors``: how many were met."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._anchors: dict[tuple[str, bytes], list[DatingAnchor]] = {}  # by gateway and boot
        self.anchors = 0

    def dated(self, number: int, header: BatchHeader, rows: Iterable[Row]) -> list[Row]:
        """Return rows of ``records`` with the times that the anchors of their boot gave them."""
        return [row if is_settled(row) else self._dated(number, header, row) for row in rows]

    def _dated(self, number: int, header: BatchHeader, row: Row) -> Row:
        own, resp_ms = own_time(row)
        return with_time(row, fold_time(own, resp_ms, number, self._anchors_of(header)))

    def _anchors_of(self, header: BatchHeader) -> list[DatingAnchor]:
        key = (header.gateway, header.anchor.boot_id)
        if key not in self._anchors:
            self._anchors[key] = anchors_of(self._db, *key)
        return self._anchors[key]

    def anchor(self, number: int, header: BatchHeader) -> Iterator[AuditFinding]:
        """Prove whether the anchor of a batch has become one that dates."""
        stored = self._anchors_of(header)
        at = bisect_left(stored, number, key=lambda anchor: anchor.number)
        found = stored[at] if at < len(stored) and stored[at].number == number else None
        expected = succeeds(stored[at - 1] if at else None, header.anchor, number)
        self.anchors += found is not None
        if found is not None and expected is not None:
            expected = expected._replace(todo_ms=found.todo_ms)
        if found != expected:
            where = f"batch {number} of {header.gateway}"
            message = f"expected {expected}, got {found}"
            yield AuditFinding("anchors", where, message[: 2 * MAX_TEXT])
