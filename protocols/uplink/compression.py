"""The payload of a batch, compressed or as it is.

zstd takes the least time for the size it reaches (decision 0003). Which level, and what is left out
before, has been measured (decision 0025).
"""

from collections.abc import Sequence
from typing import Final

import zstandard

from protocols.wire.errors import BAD_VALUE, TOO_LONG

from . import cbor
from .batch_header import COMPRESSION_NONE, COMPRESSION_SHORT, COMPRESSION_ZSTD
from .checks import wrong
from .errors import FormatError
from .short_pack import shorten

_LEVEL: Final = 3
# A pack of few rounds has little to repeat, and a better search finds more of it. It takes four
# times as long, which is little for little.
_SMALL_PACK: Final = 128 * 1024
_SMALL_PACK_LEVEL: Final = 7
# What decompressing may hold beside its output; a frame asking for more is refused.
_MAX_WINDOW: Final = 8 * 1024 * 1024


def compressed_pack(
    records: Sequence[bytes], maps: int, compress: bool, short: bool
) -> tuple[int, bytes]:
    """Return how the payload is compressed, and the payload."""
    pack = shorten(records, maps) if short and compress else None
    compression = COMPRESSION_ZSTD if pack is None else COMPRESSION_SHORT
    if pack is None:
        pack = cbor.array_head(maps) + b"".join(records)
    if not compress:
        return COMPRESSION_NONE, pack
    level = _SMALL_PACK_LEVEL if len(pack) <= _SMALL_PACK else _LEVEL
    return compression, zstandard.ZstdCompressor(level=level).compress(pack)


def decompress(frame: bytes, at: int, above: int, most: int) -> bytes:
    """Return what a zstd frame holds: over ``above`` and at most ``most`` bytes, or FormatError.

    ``at``: the frame's offset, for errors.
    """
    try:
        parameters = zstandard.get_frame_parameters(frame)
    except zstandard.ZstdError as error:
        raise wrong("payload", at, "a zstd frame", str(error)) from None
    # The size a frame claims is allocated at once, so it is held against the signed lengths first.
    if not above < parameters.content_size <= most:
        expected = f"over {above} and at most {most} bytes, as lengths give"
        raise FormatError(TOO_LONG, "size of the zstd frame", at, expected, parameters.content_size)
    if parameters.window_size > _MAX_WINDOW:
        limit = f"at most {_MAX_WINDOW} bytes"
        raise FormatError(TOO_LONG, "window of the zstd frame", at, limit, parameters.window_size)
    try:
        return zstandard.ZstdDecompressor().decompress(
            frame, max_output_size=most, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise FormatError(BAD_VALUE, "zstd payload", at, "an undamaged frame", str(error)) from None
