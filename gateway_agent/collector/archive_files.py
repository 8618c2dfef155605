"""The archive beside a collector's database: its segments, as files that never change.

::

    collector.archive/5f1c.../            one folder for each database, by its id
        index                             signed lines (:mod:`.signed_log`)
        2026-11-28/000000000001-000000000532.batches

A segment has consecutive batches as they were received, compressed with zstd. Its line in the index
has first and last number, name, SHA-256 of the file, and the chain over all batches after its last
one (``batches.chain``): so a segment that is changed, or gone, is found and named.
"""

import hashlib
import re
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import zstandard

from protocols.uplink import MAX_BATCH_BYTES

from .signed_log import LogEntry

BATCHES: Final = "batches"  # ``about`` of a line: a segment
DATABASE: Final = "database"  # of the first line: the id of the database
SEGMENT_BYTES: Final = 16 << 20  # of batches, before compression
_MAX_CONTENT: Final = SEGMENT_BYTES + MAX_BATCH_BYTES + 4096
_MAGIC: Final = b"TFBATCH1"
_ITEM: Final = struct.Struct("<I")  # length of a batch
_LEVEL: Final = 6
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


def pack(batches: Iterable[bytes]) -> bytes:
    """Return the content of a segment's file."""
    body = b"".join(part for data in batches for part in (_ITEM.pack(len(data)), data))
    return _MAGIC + zstandard.ZstdCompressor(level=_LEVEL).compress(body)


def unpack(data: bytes) -> list[bytes]:
    """Return the batches of a segment's file. ValueError: no :func:`pack` wrote it."""
    if not data.startswith(_MAGIC):
        raise ValueError(f"expected a file that begins with {_MAGIC!r}")
    try:
        if zstandard.frame_content_size(data[len(_MAGIC) :]) > _MAX_CONTENT:
            raise ValueError(f"expected at most {_MAX_CONTENT} bytes of batches")
        body = zstandard.ZstdDecompressor().decompress(data[len(_MAGIC) :])
    except zstandard.ZstdError as error:
        raise ValueError(f"expected a zstd frame: {error}") from None
    return list(_items(body))


def _items(body: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(body):
        if at + _ITEM.size > len(body):
            raise ValueError("expected a length, got the end")
        (size,) = _ITEM.unpack_from(body, at)
        at += _ITEM.size + size
        if at > len(body):
            raise ValueError(f"expected a batch of {size} bytes, got the end")
        yield body[at - size : at]


def digest(data: bytes) -> bytes:
    """Return the SHA-256 of a file, as the index has it."""
    return hashlib.sha256(data).digest()
