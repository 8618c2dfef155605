"""Keeps what stations reported, so that a centre can ask for a period (SL 651-2014, 6.6.4.11).

The outbox drops what every platform has; a centre asks later. One SQLite file holds the values of
each report for 31 days, and which pictures went: their records are read again after a break while a
period is open. It is a copy: losing it loses an answer, or repeats a picture, and no reading.
"""

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from threading import Lock
from typing import Final

from gateway_agent.status import GapStatus
from gateway_agent.uplink.gap_book import GapBook
from gateway_agent.uplink.state_file import open_state

KEEP_MS: Final = 31 * 86_400_000
# Made at each opening: files of the first release have no such table.
_PICTURES: Final = """CREATE TABLE IF NOT EXISTS picture (station TEXT NOT NULL, stream INTEGER
    NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (station, stream, seq)) WITHOUT ROWID"""
_HOURS: Final = """CREATE TABLE IF NOT EXISTS hour (station TEXT NOT NULL, ended_ms INTEGER NOT
    NULL, PRIMARY KEY (station, ended_ms)) WITHOUT ROWID"""
_GIVEN_UP: Final = """CREATE TABLE IF NOT EXISTS given_up (station TEXT NOT NULL, boot_epoch INTEGER
    NOT NULL, number INTEGER NOT NULL, wall_ms INTEGER NOT NULL, PRIMARY KEY (station, boot_epoch,
    number)) WITHOUT ROWID"""
_GAPS: Final = """CREATE TABLE IF NOT EXISTS gaps (only INTEGER PRIMARY KEY CHECK (only = 1),
    book TEXT NOT NULL)"""
_WAIT_S: Final = 0.5
_LOSS: Final = "a centre that asks for reports of the past gets none from before now"
_SCHEMA: Final = (
    """CREATE TABLE report (station TEXT NOT NULL, ended_ms INTEGER NOT NULL, element_values TEXT
    NOT NULL, PRIMARY KEY (station, ended_ms)) WITHOUT ROWID""",
)


class ReportHistory:
    """One file. A question does not wait for a medium that hangs: it has no answer then."""

    def __init__(self, path: Path) -> None:
        """Open or make the file; OSError if that is not possible."""
        self._lock = Lock()
        self._connection, _ = open_state(path, {0: _SCHEMA}, "NORMAL", _LOSS)
        for table in (_PICTURES, _HOURS, _GIVEN_UP, _GAPS):
            self._note(table)
        row = self._connection.execute("SELECT book FROM gaps").fetchone()
        self.gaps = GapBook() if row is None else GapBook(*row)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def add(self, station: str, ended_ms: int, values: Mapping[int, Decimal | None]) -> None:
        """Keep the values of a report, and drop those that are too old. OSError."""
        text = json.dumps({str(key): None if v is None else str(v) for key, v in values.items()})
        try:
            with self._lock:
                self._put(station, ended_ms, text)
        except sqlite3.Error as error:
            raise OSError(f"reports of SL 651 cannot be kept: {error}") from error

    def _put(self, station: str, ended_ms: int, text: str) -> None:
        self._connection.execute(
            "INSERT OR REPLACE INTO report VALUES (?, ?, ?)", (station, ended_ms, text)
        )
        self._connection.execute(
            "DELETE FROM report WHERE station = ? AND ended_ms < ?",
            (station, ended_ms - KEEP_MS),
        )

    def add_picture(self, station: str, stream: int, seq: int) -> None:
        """Keep that a picture, which ends with this record, has been reported. OSError."""
        self._note("INSERT OR REPLACE INTO picture VALUES (?, ?, ?)", station, stream, seq)

    def has_picture(self, station: str, stream: int, seq: int) -> bool:
        """Return whether a picture has been reported already. OSError."""
        sql = "SELECT 1 FROM picture WHERE station = ? AND stream = ? AND seq = ?"
        return self._has(sql, station, stream, seq)

    def give_up_picture(self, station: str, boot_epoch: int, number: int, gap: GapStatus) -> bool:
        """Name a picture of a node in the gaps; whether it was not named before. OSError."""
        key = station, boot_epoch, number
        try:
            with self._lock, self._connection:
                self._connection.execute("BEGIN")
                new = "INSERT OR IGNORE INTO given_up VALUES (?, ?, ?, ?)"
                if not self._connection.execute(new, (*key, gap.last_ms)).rowcount:
                    return False
                old = "DELETE FROM given_up WHERE wall_ms < ?"
                self._connection.execute(old, (gap.last_ms - KEEP_MS,))
                book = GapBook(self.gaps.text())
                book.add(gap)
                self._connection.execute(
                    "INSERT OR REPLACE INTO gaps VALUES (1, ?)", (book.text(),)
                )
        except sqlite3.Error as error:
            raise OSError(f"reports of SL 651 cannot be kept: {error}") from error
        self.gaps = book
        return True

    def last_hour(self, station: str, until_ms: int) -> int | None:
        """Return when the newest hour ended, by then, that has been reported. OSError."""
        sql = "SELECT max(ended_ms) FROM hour WHERE station = ? AND ended_ms <= ?"
        try:
            with self._lock, closing(self._connection.execute(sql, (station, until_ms))) as rows:
                newest: int | None = rows.fetchone()[0]
        except sqlite3.Error as error:
            raise OSError(f"reports of SL 651 cannot be read: {error}") from error
        return newest

    def add_hour(self, station: str, ended_ms: int) -> None:
        """Keep that an hour has been reported. OSError."""
        self._note("INSERT OR REPLACE INTO hour VALUES (?, ?)", station, ended_ms)
        self._note("DELETE FROM hour WHERE ended_ms < ?", ended_ms - KEEP_MS)

    def _note(self, sql: str, *values: str | int) -> None:
        try:
            with self._lock:
                self._connection.execute(sql, values)
        except sqlite3.Error as error:
            raise OSError(f"reports of SL 651 cannot be kept: {error}") from error

    def _has(self, sql: str, *values: str | int) -> bool:
        try:
            with self._lock, closing(self._connection.execute(sql, values)) as rows:
                return rows.fetchone() is not None
        except sqlite3.Error as error:
            raise OSError(f"reports of SL 651 cannot be read: {error}") from error

    def between(
        self, station: str, identifier: int, begin_ms: int, end_ms: int, step_ms: int = 1
    ) -> dict[int, Decimal | None]:
        """Return values of an element by when their period ended; None between steps. OSError."""
        if not self._lock.acquire(timeout=_WAIT_S):
            raise OSError("reports of SL 651 cannot be read: the medium is busy")
        try:
            found = self._between(station, identifier, begin_ms, end_ms, step_ms)
        except sqlite3.Error as error:
            raise OSError(f"reports of SL 651 cannot be read: {error}") from error
        finally:
            self._lock.release()
        return {at: None if text is None else Decimal(text) for at, text in found}

    def _between(
        self, station: str, identifier: int, begin_ms: int, end_ms: int, step_ms: int
    ) -> list[tuple[int, str | None]]:
        sql = (
            "SELECT ended_ms, CASE WHEN (ended_ms - ?) % ? = 0"
            " THEN json_extract(element_values, ?) END FROM report"
            " WHERE station = ? AND ended_ms BETWEEN ? AND ? ORDER BY ended_ms"
        )
        values = begin_ms, step_ms, f'$."{identifier}"', station, begin_ms, end_ms
        with closing(self._connection.execute(sql, values)) as rows:
            return list(rows)
