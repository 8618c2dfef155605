"""Keeps the last 48 hours of values in a file of their own, bounded by bytes.

It is for the eye only: what counts is in the outbox. So it is written behind, without waiting for
the medium, the oldest goes when there is no room, and a file that is damaged is begun anew. A row
of its one table is a piece of one device: up to an hour of rows, packed and compressed.
"""

import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

import msgspec
import zstandard

log = logging.getLogger(__name__)

KEEP_MS: Final = 48 * 3600 * 1000
_PAGE: Final = 4096
_SCHEMA: Final = """
pragma page_size = 4096;
pragma journal_mode = truncate;
pragma synchronous = off;
create table if not exists piece (
    device text not null, first_ms integer not null, last_ms integer not null, data blob not null
);
create index if not exists piece_of on piece (device, last_ms);
create index if not exists piece_age on piece (last_ms);
"""


class HistoryRow(msgspec.Struct, frozen=True, array_like=True):
    """One moment of a device: a number per point, or why there is none."""

    t_ms: int  # since 1970
    values: tuple[float | None, ...]  # one per point of the piece
    quality: tuple[str, ...] = ()  # one per point, empty if all are good
    cause: str = ""  # of a gap: nothing came


class HistoryPiece(msgspec.Struct, frozen=True, array_like=True):
    """Rows of one device that have the same points."""

    points: tuple[str, ...]
    rows: list[HistoryRow]


class HistoryFile:
    """Use from one thread at a time. No method raises for want of room or for damage."""

    def __init__(self, path: Path, limit: int) -> None:
        self._path = path
        self._limit = limit

    def write(self, pieces: dict[str, HistoryPiece]) -> None:
        """Add a piece of each device, and drop what is too old or too much."""
        packed = [
            (device, piece.rows[0].t_ms, piece.rows[-1].t_ms, _pack(piece))
            for device, piece in pieces.items()
            if piece.rows
        ]
        if not packed:
            return
        oldest = max(last for _, _, last, _ in packed) - KEEP_MS
        for attempt in range(2):
            try:
                self._write(packed, oldest)
            except (sqlite3.DatabaseError, OSError) as error:
                if attempt or not isinstance(error, sqlite3.DatabaseError):
                    log.warning("%s: some history is lost (no reading is): %s", self._path, error)
                    return
                self._begin_anew(error)
            else:
                return

    def read(self, device: str, from_ms: int, to_ms: int) -> list[HistoryPiece]:
        """Return the pieces of a device that have rows in a time, the oldest first."""
        if not self._path.exists():
            return []
        query = (
            "select data from piece where device = ? and last_ms >= ? and first_ms <= ?"
            " order by first_ms"
        )
        try:
            with closing(self._open()) as base:
                rows = base.execute(query, (device, from_ms, to_ms)).fetchall()
            return [_unpack(row[0]) for row in rows]
        except (sqlite3.DatabaseError, zstandard.ZstdError, msgspec.DecodeError, OSError) as error:
            log.warning("%s: the history cannot be read: %s", self._path, error)
            return []

    def _write(self, packed: list[tuple[str, int, int, bytes]], oldest: int) -> None:
        with closing(self._open()) as base, base:
            base.execute("delete from piece where last_ms < ?", (oldest,))
            for row in packed:
                while not self._has_room(base, len(row[3])):
                    pass
                base.execute("insert into piece values (?, ?, ?, ?)", row)

    def _has_room(self, base: sqlite3.Connection, size: int) -> bool:
        """Return whether ``size`` bytes fit; if not, drop the oldest pieces."""
        ((pages,),) = base.execute("pragma page_count")
        ((free,),) = base.execute("pragma freelist_count")
        need = 2 * (size // _PAGE + 4)  # the piece, and pages of the indexes that it may split
        if (pages - free + need) * _PAGE <= self._limit:
            return True
        oldest = "select rowid from piece order by rowid limit 50"  # whatever the clock did
        drop = f"delete from piece where rowid in ({oldest})"  # noqa: S608 - no input in it
        return base.execute(drop).rowcount == 0

    def _open(self) -> sqlite3.Connection:
        base = sqlite3.connect(self._path, timeout=1.0, isolation_level="IMMEDIATE")
        try:
            base.executescript(_SCHEMA)
        except BaseException:
            base.close()
            raise
        return base

    def _begin_anew(self, error: Exception) -> None:
        log.warning("%s: the history begins anew (no reading is lost): %s", self._path, error)
        self._path.unlink(missing_ok=True)
        self._path.with_name(self._path.name + "-journal").unlink(missing_ok=True)


def _pack(piece: HistoryPiece) -> bytes:
    return zstandard.compress(msgspec.msgpack.encode(piece), 6)


def _unpack(data: bytes) -> HistoryPiece:
    plain = zstandard.decompress(data, max_output_size=16 << 20)
    return msgspec.msgpack.decode(plain, type=HistoryPiece)
