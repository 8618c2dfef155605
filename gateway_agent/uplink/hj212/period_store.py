"""Keeps the periods of one platform across restarts, and answers its questions for history.

One SQLite file with one commit for each portion of records: what the aggregates hold, up to which
record that goes, which revision of each period the platform has, and what is on its way there
under which request numbers. A process that is killed goes on with exactly that. What the platform
set (intervals, password, key) is kept here too.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec

from gateway_agent.uplink.state_file import open_state
from protocols.uplink.hj212 import DAY_MS, Body, Hj212Settings

from .aggregates import PERIOD_CODES
from .period import AggregatePeriod, PeriodCell

KEEP_MS: Final = 31 * DAY_MS  # for history that a platform asks for
_SENDING: Final = """CREATE TABLE sending (cn TEXT NOT NULL, start_ms INTEGER NOT NULL,
    revision INTEGER NOT NULL, backfill INTEGER NOT NULL, body TEXT NOT NULL, qns TEXT NOT NULL,
    PRIMARY KEY (cn, start_ms, revision)) WITHOUT ROWID"""
_SCHEMA: Final = (
    """CREATE TABLE period (cn TEXT NOT NULL, start_ms INTEGER NOT NULL, end_ms INTEGER NOT NULL,
    closed INTEGER NOT NULL, revision INTEGER NOT NULL, sent INTEGER NOT NULL, cells TEXT NOT NULL,
    ranges TEXT NOT NULL, PRIMARY KEY (cn, start_ms)) WITHOUT ROWID""",
    "CREATE INDEX unsent ON period (cn, start_ms) WHERE sent < revision OR closed = 0",
    "CREATE TABLE state (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    _SENDING,
)
_UPGRADES: Final = {0: _SCHEMA, 1: (_SENDING,)}  # from which version, with what
_LOSS: Final = (
    "periods that the platform has not got and that are older than the records still kept are"
    " missing there, and periods may come twice"
)
_REMOVE_EMPTY: Final = "DELETE FROM period WHERE cn = ? AND start_ms >= ? AND cells = '{}'"
_REMOVE_THEIR_UPLOADS: Final = """DELETE FROM sending WHERE cn = ? AND start_ms >= ? AND NOT EXISTS
    (SELECT 1 FROM period WHERE period.cn = sending.cn AND period.start_ms = sending.start_ms)"""
_BODY: Final = tuple[tuple[tuple[str, str], ...], ...]
_COLUMNS: Final = "cn, start_ms, end_ms, closed, revision, sent, cells, ranges"


@dataclass(slots=True)
class PeriodUpload:
    """One revision of a period on its way to the platform, under request numbers."""

    period: AggregatePeriod
    revision: int
    body: Body
    is_backfill: bool
    qns: tuple[str, ...] = ()


class PeriodStore:
    """One file; its calls are made from one thread at a time."""

    def __init__(self, path: Path) -> None:
        """Open or make the file; OSError if that is not possible.

        ``is_anew``: a damaged file was set aside, and this one has nothing.
        """
        self._connection, self.is_anew = open_state(path, _UPGRADES, "FULL", _LOSS)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def state(self) -> dict[str, str]:
        """Return what :meth:`commit` kept by name."""
        return dict(self._connection.execute("SELECT name, value FROM state"))

    def commit(
        self,
        periods: Iterable[AggregatePeriod],
        state: Mapping[str, str],
        newest_ms: int,
        sending: Iterable[PeriodUpload] = (),
    ) -> None:
        """Keep changed periods, state and uploads in one commit, and drop what is over or too old.

        A period that the platform lacks is never dropped. OSError if the medium refuses.
        """
        rows = [_row(period) for period in periods]
        uploads = [_upload_row(upload) for upload in sending]
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                marks = ", ".join("?" * 8)
                self._connection.executemany(
                    f"INSERT OR REPLACE INTO period ({_COLUMNS}) VALUES ({marks})",  # noqa: S608 # ours
                    rows,
                )
                self._connection.executemany(
                    "INSERT OR REPLACE INTO state VALUES (?, ?)", state.items()
                )
                self._connection.executemany(
                    "INSERT OR REPLACE INTO sending VALUES (?, ?, ?, ?, ?, ?)", uploads
                )
                self._connection.execute(
                    "DELETE FROM sending WHERE revision <= (SELECT sent FROM period"
                    " WHERE period.cn = sending.cn AND period.start_ms = sending.start_ms)"
                )
                old_ms = newest_ms - KEEP_MS
                self._connection.executemany(
                    "DELETE FROM period WHERE cn = ? AND start_ms < ? AND end_ms < ?"  # by its key
                    " AND closed = 1 AND sent >= revision",
                    [(cn, old_ms, old_ms) for cn in PERIOD_CODES],
                )
                self._connection.execute("COMMIT")
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise OSError(f"periods of HJ 212 cannot be kept: {error}") from error

    def remove_empty(self, cn: str, from_ms: int) -> None:
        """Remove periods without a reading that start from then on, and what sends them.

        OSError if the medium refuses.
        """
        try:
            self._connection.execute(_REMOVE_EMPTY, (cn, from_ms))
            self._connection.execute(_REMOVE_THEIR_UPLOADS, (cn, from_ms))
        except sqlite3.Error as error:
            raise OSError(f"periods of HJ 212 cannot be removed: {error}") from error

    def pending(self) -> list[AggregatePeriod]:
        """Return periods that are open, or that the platform lacks."""
        return self._read("sent < revision OR closed = 0", ())

    def period(self, cn: str, start_ms: int) -> AggregatePeriod | None:
        """Return one period."""
        found = self._read("cn = ? AND start_ms = ?", (cn, start_ms))
        return found[0] if found else None

    def between(self, cn: str, begin_ms: int, end_ms: int) -> Iterator[AggregatePeriod]:
        """Yield closed periods that start from ``begin_ms`` to ``end_ms``, a few at a time."""
        while True:
            found = self._read(
                "cn = ? AND start_ms BETWEEN ? AND ? AND closed = 1", (cn, begin_ms, end_ms), 100
            )
            yield from found
            if len(found) < 100:
                return
            begin_ms = found[-1].start_ms + 1

    def sending(self) -> list[PeriodUpload]:
        """Return what was on its way to the platform, in the order of the request numbers."""
        found = []
        sql = "SELECT cn, start_ms, revision, backfill, body, qns FROM sending"
        for cn, start_ms, revision, backfill, body, qns in self._connection.execute(sql).fetchall():
            period = self.period(cn, start_ms)
            if period is not None:
                items = msgspec.json.decode(body, type=_BODY)
                numbers = tuple(json.loads(qns))
                found.append(PeriodUpload(period, revision, items, bool(backfill), numbers))
        return sorted(found, key=lambda upload: upload.qns)

    def _read(
        self, where: str, values: tuple[str | int, ...], limit: int = -1
    ) -> list[AggregatePeriod]:
        sql = f"SELECT {_COLUMNS} FROM period WHERE {where} ORDER BY start_ms, cn LIMIT {limit}"  # noqa: S608 # ours
        with closing(self._connection.execute(sql, values)) as cursor:
            return [_period(*row) for row in cursor]


def _row(period: AggregatePeriod) -> tuple[str | int, ...]:
    cells = {
        code: [
            dict(cell.flags),
            str(cell.total),
            None if cell.least is None else str(cell.least),
            None if cell.greatest is None else str(cell.greatest),
            str(cell.carried),
            cell.carriers,
        ]
        for code, cell in period.cells.items()
    }
    return (
        period.cn,
        period.start_ms,
        period.end_ms,
        int(period.is_closed),
        period.revision,
        period.sent,
        json.dumps(cells),
        json.dumps(period.ranges),
    )


def _upload_row(upload: PeriodUpload) -> tuple[str | int, ...]:
    period = upload.period
    texts = json.dumps(upload.body), json.dumps(upload.qns)
    return (period.cn, period.start_ms, upload.revision, int(upload.is_backfill), *texts)


def _period(
    cn: str, start: int, end: int, closed: int, revision: int, sent: int, cells: str, ranges: str
) -> AggregatePeriod:
    made = {}
    for code, (flags, total, least, greatest, carried, carriers) in json.loads(cells).items():
        made[code] = PeriodCell(
            Counter(flags),
            Decimal(total),
            None if least is None else Decimal(least),
            None if greatest is None else Decimal(greatest),
            Decimal(carried),
            carriers,
        )
    return AggregatePeriod(cn, start, end, made, json.loads(ranges), bool(closed), revision, sent)


def settings_text(settings: Hj212Settings) -> str:
    """Return settings for :meth:`PeriodStore.commit`."""
    return msgspec.json.encode(settings).decode()


def settings_of(text: str) -> Hj212Settings:
    """Return settings from :meth:`PeriodStore.state`; ValueError if they are none."""
    return msgspec.json.decode(text, type=Hj212Settings)
