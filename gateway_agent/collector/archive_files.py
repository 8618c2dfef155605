"""The archive beside a collector's database: its segments, as files that never change.

::

    collector.archive/5f1c.../            one folder for each database, by its id
        index                             signed lines (:mod:`.signed_log`)
        2026-11-28/000000000001-000000000532.batches

A segment has consecutive batches as they were received, in a :mod:`gateway_agent.batch_file`. Its
line in the index has first and last number, name, SHA-256 of the file, and the chain over all
batches after its last one (``batches.chain``): so a segment that is changed, or gone, is named.
"""

import hashlib
import re
from pathlib import Path
from typing import Final, NamedTuple

from .signed_log import LogEntry

BATCHES: Final = "batches"  # ``about`` of a line: a segment
DATABASE: Final = "database"  # of the first line: the id of the database
REMOVED: Final = "removed"  # first and last batch whose readings leave the database
THINNED: Final = "thinned"  # seconds of a row, of the row it goes into (0: none), up to which time
_NAME: Final = re.compile(r"\d{4}-\d\d-\d\d/\d{12}-\d{12}\.batches", re.ASCII)


def archive_path(database: Path, identity: int) -> Path:
    """Return the folder of the archive of the database with this id."""
    return database.with_suffix(".archive") / f"{identity:016x}"


def index_path(archive: Path) -> Path:
    """Return the path of the index."""
    return archive / "index"


class Segment(NamedTuple):
    """A line of the index: batches ``first`` to ``last``; ``chain`` is that after the last one."""

    first: int
    last: int
    name: str
    sha256: bytes
    chain: bytes

    @classmethod
    def of(cls, entry: LogEntry) -> "Segment | None":
        """Return the segment that a line is about; None if it is about another matter.

        ValueError: the line has other fields than those of a segment.
        """
        if entry.about != BATCHES:
            return None
        first, last, name, sha256, chain = entry.fields
        if not _NAME.fullmatch(name):
            raise ValueError(f"expected the name of a file of the archive, got {name!r}")
        return cls(int(first), int(last), name, bytes.fromhex(sha256), bytes.fromhex(chain))

    def fields(self) -> tuple[object, ...]:
        """Return the fields of its line."""
        return (*self[:3], self.sha256.hex(), self.chain.hex())


def digest(data: bytes) -> bytes:
    """Return the SHA-256 of a file, as the index has it."""
    return hashlib.sha256(data).digest()
