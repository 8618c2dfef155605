"""Move the batches of a database into its archive, a segment at a time.

The commit of a batch stays what it is: one transaction has its rows and its bytes. Now and then
what is committed is copied into files, in steps of which each is durable before the next begins:

1. the segment's file, whole, under its own name;
2. its line in the signed index;
3. its row in the table ``archived``.

A process that is killed between two of them leaves a file without a line, which the next segment
replaces or a start removes, or a line without a row, which the next start adds.
"""

import logging
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway_agent.batch_file import FILE_BYTES, pack
from gateway_agent.clock import GatewayClock
from gateway_agent.directories import make_directory, replace_file

from . import archive_files
from .archive_files import Segment
from .signed_log import SignedLog

log = logging.getLogger(__name__)

SEAL_MS: Final = 3_600_000  # batches wait no longer for their segment


class ArchiveMismatch(ValueError):
    """The archive is not that of this database, or one of both was changed."""


class BatchArchive:
    """The archive of an open database; used from the thread of its connection.

    ``problem``: why nothing can be archived now; "" if it can. What waits stays in the database.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        database: Path,
        key: Ed25519PrivateKey,
        clock: GatewayClock,
        segment_bytes: int = FILE_BYTES,
    ) -> None:
        self._db = connection
        (identity,) = connection.execute("SELECT id FROM database").fetchone()
        self._identity: int = identity
        self.path = archive_files.archive_path(database, identity)
        self._key = key
        self._clock = clock
        self._segment_bytes = segment_bytes
        self._sealed_ms: int | None = None  # none yet in this process
        self._log: SignedLog | None = None
        self.problem = ""

    @property
    def last(self) -> int:
        """Return the number of the last batch that is archived."""
        (last,) = self._db.execute("SELECT max(last) FROM archived").fetchone()
        return last or 0

    def advance(self, now: bool = False) -> bool:
        """Write the next segment if it is due, or ``now``; return whether more is due.

        Nothing is raised for a medium or a file that is not as it should be: see ``problem``.
        """
        try:
            is_more = self._advance(now)
        except (OSError, ValueError, sqlite3.Error) as error:
            text = f"{self.path}: nothing is archived: {error}"
            if text != self.problem:
                log.error("%s; the batches wait in the database", text)
            self.problem = text
            return False
        if self.problem:
            log.warning("%s: batches are archived again", self.path)
        self.problem = ""
        return is_more

    def state(self, about: str, *fields: object) -> int:
        """Write a line about what retention is going to do; return its number.

        OSError, ValueError: nothing can be written, so nothing may be removed.
        """
        return self._opened().append(about, *fields).number

    def _advance(self, now: bool) -> bool:
        signed = self._opened()
        after = self.last
        numbers = list(self._due(after))
        if not numbers:
            return False
        is_full = len(numbers) > 1 and numbers[-1] < 0
        if is_full:
            del numbers[-1]
        elapsed = None if self._sealed_ms is None else self._clock.boot_ms() - self._sealed_ms
        if not is_full and not now and elapsed is not None and elapsed < SEAL_MS:
            return False
        self._seal(signed, numbers[0], numbers[-1])
        self._sealed_ms = self._clock.boot_ms()
        return is_full

    def _due(self, after: int) -> Iterator[int]:
        """Yield the numbers of the next segment's batches; -1 at the end if more follow."""
        size = 0
        for number, length in self._db.execute(
            "SELECT number, length(data) FROM batches WHERE number > ? ORDER BY number", (after,)
        ):
            if size >= self._segment_bytes:
                yield -1
                return
            size += length
            yield number

    def _seal(self, signed: SignedLog, first: int, last: int) -> None:
        rows = self._db.execute(
            "SELECT data, chain FROM batches WHERE number BETWEEN ? AND ? ORDER BY number",
            (first, last),
        ).fetchall()
        if len(rows) != last - first + 1 or first != self.last + 1:
            raise ArchiveMismatch(f"batches of {first} to {last} are missing: see the audit")
        content = pack(data for data, _ in rows)
        day = datetime.now(UTC).strftime("%Y-%m-%d")
        name = f"{day}/{first:012}-{last:012}.batches"
        file = self.path / name
        make_directory(file.parent)
        replace_file(file, content)
        file.chmod(0o400)
        segment = Segment(first, last, name, archive_files.digest(content), rows[-1][1])
        signed.append(archive_files.BATCHES, *segment.fields())
        self._add(segment)
        log.info("%s: batches %d to %d archived", file, first, last)

    def _add(self, segment: Segment) -> None:
        self._db.execute("INSERT INTO archived VALUES (?,?,?,?)", segment[:4])

    # --- the start ------------------------------------------------------------------------------

    def _opened(self) -> SignedLog:
        """Return the index; the first time, compare it with the database."""
        if self._log is not None and self._log.path.exists() == bool(self._log.entries):
            return self._log
        signed = SignedLog(archive_files.index_path(self.path), self._key)
        if not signed.entries:
            if self.last:
                raise ArchiveMismatch(
                    f"its index is gone, and batches up to {self.last} were archived: put it back"
                )
            signed.append(archive_files.DATABASE, f"{self._identity:016x}")
        self._compare(signed)
        self._remove_strays(signed)
        self._log = signed
        return signed

    def _compare(self, signed: SignedLog) -> None:
        stored = self._db.execute("SELECT * FROM archived ORDER BY first").fetchall()
        segments = _segments(signed)
        if [segment[:4] for segment in segments[: len(stored)]] != stored:
            raise ArchiveMismatch("its index belongs to another database: see the audit")
        for segment in segments[len(stored) :]:  # its line was written, and not its row
            row = self._db.execute(
                "SELECT chain FROM batches WHERE number = ?", (segment.last,)
            ).fetchone()
            if row is None or row[0] != segment.chain or segment.first != self.last + 1:
                raise ArchiveMismatch(
                    f"it has batches {segment.first} to {segment.last}, and this database has"
                    " others: it was restored from an older copy, and batches came since"
                )
            self._add(segment)

    def _remove_strays(self, signed: SignedLog) -> None:
        """Remove files of segments that have no line: their batches are in the database."""
        named = {segment.name for segment in _segments(signed)}
        for file in self.path.glob("*/*"):
            if f"{file.parent.name}/{file.name}" not in named:
                file.unlink()


def _segments(signed: SignedLog) -> list[Segment]:
    return [found for entry in signed.entries if (found := Segment.of(entry)) is not None]
