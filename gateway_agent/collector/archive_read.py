"""Read an archive, in the order of the batches, to prove a database by it."""

import sqlite3
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway_agent.batch_file import unpack

from . import archive_files
from .archive_files import Segment
from .audit_tables import MAX_TEXT, AuditFinding
from .signed_log import LogEntry, read_log


class ArchiveReader:
    """The archive of one database; a collector may write to it meanwhile.

    ``last``: the number of the newest batch that its index names. ``is_signed``: the index was
    checked with the collector's key. ``segments_read``: files that were proved so far.
    """

    def __init__(self, path: Path, identity: int, key: Ed25519PublicKey | None = None) -> None:
        self.path = path
        self.is_signed = key is not None
        self.segments_read = 0
        self._identity = f"{identity:016x}"
        self.entries: list[LogEntry] = []
        self.problems: list[AuditFinding] = []
        try:
            self.entries, problem = read_log(archive_files.index_path(path), key)
        except OSError as error:
            problem = str(error)
        if problem:
            self._problem("index", problem)
        self.segments: list[Segment] = []
        self.removed: set[tuple[int, int]] = set()  # first and last batch of what is thinned
        self.hours_gone_s = 0  # no row of an hour before it needs to be there
        for entry in self.entries:
            self._take(entry)
        self.last = self.segments[-1].last if self.segments else 0
        self._unreadable: set[int] = set()  # places in ``segments``
        self._batches: dict[int, bytes] = {}  # of the segment that was read last

    def _problem(self, where: str, message: str) -> None:
        self.problems.append(AuditFinding("archive", where[:MAX_TEXT], message[:MAX_TEXT]))

    def _take(self, entry: LogEntry) -> None:
        where = f"line {entry.number} of the index"
        if entry.number == 1 and (entry.about, entry.fields) != (
            archive_files.DATABASE,
            (self._identity,),
        ):
            self._problem(where, f"expected database {self._identity}, got {entry.fields}")
        try:
            segment = Segment.of(entry)
            if entry.about == archive_files.REMOVED:
                first, last = map(int, entry.fields)
                self.removed.add((first, last))
            elif entry.about == archive_files.THINNED:
                _, to_s, before_s = map(int, entry.fields)
                self.hours_gone_s = max(self.hours_gone_s, 0 if to_s else before_s)
        except ValueError:
            self._problem(where, f"expected the fields of {entry.about}, got {entry.fields}")
            return
        if segment is None:
            return
        begin = self.segments[-1].last + 1 if self.segments else 1
        if segment.first != begin or segment.last < begin:
            self._problem(where, f"expected batches from {begin} on, got {segment[:2]}")
        self.segments.append(segment)

    def compare(self, connection: sqlite3.Connection) -> Iterator[AuditFinding]:
        """Yield what is wrong with the index, and where the table ``archived`` has another one."""
        yield from self.problems
        stored = {row[0]: row[1:] for row in connection.execute("SELECT * FROM archived")}
        named = {segment.first: segment[1:4] for segment in self.segments}
        newest = max(stored, default=0)
        for first in sorted(stored.keys() | named.keys()):
            if stored.get(first) != named.get(first) and (first in stored or first < newest):
                message = f"the index has {named.get(first)}, the database {stored.get(first)}"
                yield AuditFinding("archived", f"batches from {first} on", message[:MAX_TEXT])

        for first, last in connection.execute("SELECT first, last FROM removals"):
            if (first, last) not in self.removed:
                message = "the index has no line about their removal"
                yield AuditFinding("removals", f"batches {first} to {last}", message)

    def is_removed(self, number: int) -> bool:
        """Return whether the index states that the readings of a batch left the database."""
        at = bisect_right(self.segments, number, key=lambda segment: segment.first) - 1
        return at >= 0 and self.segments[at][:2] in self.removed

    def batch(self, number: int) -> bytes | None:
        """Return an archived batch; None if its segment is gone or damaged, or there is none.

        Ask in rising order: each segment is read once then. Its faults go to ``problems``.
        """
        if number not in self._batches:
            at = bisect_right(self.segments, number, key=lambda segment: segment.first) - 1
            if at < 0 or self.segments[at].last < number or at in self._unreadable:
                return None
            self._batches = self._read(at)
        return self._batches.get(number)

    def _read(self, at: int) -> dict[int, bytes]:
        segment = self.segments[at]
        where = f"{segment.name}: batches {segment.first} to {segment.last}"
        try:
            content = self.path.joinpath(segment.name).read_bytes()
            if archive_files.digest(content) != segment.sha256:
                raise ValueError("is not what was written: its SHA-256 differs")
            batches = unpack(content)
            if len(batches) != segment.last - segment.first + 1:
                raise ValueError(f"got {len(batches)} batches")
        except (OSError, ValueError) as error:
            self._problem(where, str(error))
            self._unreadable.add(at)
            return {}
        self.segments_read = max(self.segments_read, at + 1 - len(self._unreadable))
        return dict(enumerate(batches, segment.first))

    def ends(self) -> dict[int, bytes]:
        """Return the chain after the last batch of each segment, by the number of that batch."""
        return {segment.last: segment.chain for segment in self.segments}


def reader_beside(
    connection: sqlite3.Connection, database: Path, key: Ed25519PublicKey | None
) -> ArchiveReader | None:
    """Return the archive beside a database; None if it has none and none is expected."""
    (identity,) = connection.execute("SELECT id FROM database").fetchone()
    path = archive_files.archive_path(database, identity)
    (archived,) = connection.execute("SELECT count(*) FROM archived").fetchone()
    if not archived and not path.exists():
        return None
    return ArchiveReader(path, identity, key)
