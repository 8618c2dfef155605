"""One file for many signed batches: in a collector's archive, and on a stick between two ends.

The file is compressed over all of its batches, and has a checksum, so that one that was not written
whole is found. Who made a batch, and when, only its own signature proves.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import Final

import zstandard

from protocols.uplink import MAX_BATCH_BYTES

FILE_BYTES: Final = 16 << 20  # of batches, before compression
SUFFIX: Final = ".batches"
_MAX_CONTENT: Final = FILE_BYTES + MAX_BATCH_BYTES + (1 << 20)
_MAGIC: Final = b"TFBATCH1"
_ITEM: Final = struct.Struct("<I")  # length of a batch
_LEVEL: Final = 6


def pack(batches: Iterable[bytes]) -> bytes:
    """Return the content of a file."""
    body = b"".join(part for data in batches for part in (_ITEM.pack(len(data)), data))
    return _MAGIC + zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compress(body)


def unpack(data: bytes) -> list[bytes]:
    """Return the batches of a file. ValueError: no :func:`pack` wrote it, or not all is there."""
    if not data.startswith(_MAGIC):
        raise ValueError(f"expected a file that begins with {_MAGIC!r}, got {data[:8]!r}")
    frame = data[len(_MAGIC) :]
    try:
        size = zstandard.frame_content_size(frame)
        if not 0 <= size <= _MAX_CONTENT:
            raise ValueError(f"expected at most {_MAX_CONTENT} bytes of batches, got {size}")
        body = zstandard.ZstdDecompressor().decompress(frame, max_output_size=_MAX_CONTENT)
    except zstandard.ZstdError as error:
        raise ValueError(f"expected a whole zstd frame: {error}") from None
    return list(_items(body))


def _items(body: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(body):
        if at + _ITEM.size > len(body):
            raise ValueError("expected the length of a batch, got the end")
        (size,) = _ITEM.unpack_from(body, at)
        at += _ITEM.size + size
        if at > len(body):
            raise ValueError(f"expected a batch of {size} bytes, got the end")
        yield body[at - size : at]
