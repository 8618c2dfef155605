"""Batches: consecutive records of one stream, chained, optionally compressed, signed once.

A batch is a COSE_Sign1 with alg, content type, kid and ours, ``tf``, in the protected header (so
the signature covers it), an empty unprotected header, and as payload a SenML pack: the head of an
array and the records' bytes. Compressed, the payload is one zstd frame of that pack. Layout:
``docs/formats.md``.

A stream is one life of an outbox, numbered by the gateway; its records are numbered from 1 without
a hole and never again. All times in a batch belong to one boot of the gateway, the anchor's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protocols.identity import IDENTIFIER_RULE, is_identifier
from protocols.wire.errors import (
    BAD_ORDER,
    BAD_VALUE,
    TOO_LONG,
    TRUNCATED,
    UNKNOWN,
    LocalError,
    PeerError,
)

from . import cbor, senml
from .chain import GENESIS, HEAD_BYTES, fold
from .cose import (
    CONTENT_TYPE,
    KID,
    KID_BYTES,
    KeyLookup,
    Sign1,
    key_id,
    parse_sign1,
    sign1,
    verify1,
)
from .fields import (
    MAX_NUMBER,
    MAX_U32,
    array,
    blob,
    identifier,
    integer,
    wrong,
)
from .record_read import decode_record
from .record_types import (
    CLOCK_NONE,
    CLOCK_SYNCHRONISED,
    EXTENSION,
    MAX_RECORD_BYTES,
    MAX_WALL_MS,
    MIN_WALL_MS,
    Decoded,
)

MAX_BATCH_BYTES: Final = 1024 * 1024
MAX_PACK_BYTES: Final = 8 * 1024 * 1024
MAX_RECORDS: Final = 10_000
BOOT_ID_BYTES: Final = 16

COMPRESSION_NONE: Final = 0
COMPRESSION_ZSTD: Final = 1
COMPRESSION_NAMES: Final = ("none", "zstd")

_LEVEL: Final = 3
_ELEMENTS: Final = 10
_MAX_ARRAY_HEAD: Final = 5
# What decompressing may hold beside its output; a frame asking for more is refused.
_MAX_WINDOW: Final = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Anchor:
    """What ties the records' boot time to wall time.

    At CLOCK_BOOTTIME ``mono_ms`` of the boot ``boot_id`` (16 bytes) it was ``wall_ms`` Unix time,
    give or take ``unc_ms``; None without a clock (``clock_state`` 0).
    """

    boot_id: bytes
    mono_ms: int
    wall_ms: int | None
    unc_ms: int
    clock_state: int


@dataclass(frozen=True, slots=True)
class BatchHeader:
    """The signed facts about a batch.

    Records ``first`` to ``last`` of ``stream``; ``prev`` is the chain's head before ``first``,
    ``head`` the one after ``last``; ``lengths`` are the records' sizes in bytes.
    """

    gateway: str
    key_epoch: int
    stream: int
    first: int
    last: int
    head: bytes
    prev: bytes
    anchor: Anchor
    lengths: tuple[int, ...]
    compression: int


@dataclass(frozen=True, slots=True)
class Batch:
    """An opened batch; ``maps`` is how many SenML maps its pack says it has."""

    header: BatchHeader
    records: tuple[bytes, ...]
    maps: int

    def decode(self) -> tuple[Decoded, ...]:
        """Read every record; a PeerError's message names the sequence number."""
        decoded = []
        for seq, record in enumerate(self.records, self.header.first):
            try:
                decoded.append(decode_record(record))
            except PeerError as error:
                error.message = f"record {seq}: {error.message}"
                raise
        check_maps(self.maps, sum(record.maps for record in decoded))
        return tuple(decoded)


def build_batch(
    *,
    gateway: str,
    key_epoch: int,
    stream: int,
    first: int,
    prev: bytes,
    anchor: Anchor,
    records: Sequence[bytes],
    key: Ed25519PrivateKey,
    compress: bool,
    maps: int | None = None,
    head: bytes | None = None,
) -> bytes:
    """Encode and sign records ``first`` to ``first + len(records) - 1``.

    ``maps``: the sum of the records' ``Record.maps``; counted here, slowly, when None. ``head``:
    the chain's head after the last record when the caller has it; folded here when None.
    LocalError: BAD_VALUE for a field out of range, TOO_LONG when a cap (MAX_RECORDS,
    MAX_PACK_BYTES, MAX_BATCH_BYTES) is exceeded: send fewer records.
    """
    if maps is None:
        maps = sum(map(count_maps, records))
    lengths = tuple(map(len, records))
    header = BatchHeader(
        gateway,
        key_epoch,
        stream,
        first,
        first + len(records) - 1,
        fold(prev, records) if head is None else head,
        prev,
        anchor,
        lengths,
        COMPRESSION_ZSTD if compress else COMPRESSION_NONE,
    )
    try:
        protected: dict[int | str, object] = {
            CONTENT_TYPE: senml.CONTENT_TYPE,
            KID: key_id(key.public_key()),
            EXTENSION: _header_items(header),
        }
    except PeerError as error:
        raise LocalError(error.code, error.message, -1, error.expected, error.got) from None
    pack = _array_head(maps) + b"".join(records)
    if compress:
        pack = zstandard.ZstdCompressor(level=_LEVEL).compress(pack)
    data = sign1(protected, pack, key)
    if len(data) > MAX_BATCH_BYTES:
        raise LocalError(TOO_LONG, "batch", -1, f"at most {MAX_BATCH_BYTES} bytes", len(data))
    return data


def open_batch(data: bytes | bytearray | memoryview, key_lookup: KeyLookup) -> Batch:
    """Read a batch: structure, signature, sizes and chain. Its records are not read yet.

    ``key_lookup(gateway, kid)`` gives the gateway's public key, or None for an unknown one.
    PeerError: UNKNOWN (key, alg, tag, critical header), BAD_TAG (signature), BAD_ORDER (the chain
    does not lead from ``prev`` to ``head``), TOO_LONG, TRUNCATED, BAD_VALUE. Offsets are within
    ``data``, except in a decompressed pack, where the message says so.
    """
    message = parse_batch(data)
    header = read_header(message)
    check_signature(message, header, key_lookup)
    maps, records = unpack(message, header)
    check_chain(header, records)
    return Batch(header, records, maps)


def parse_batch(data: bytes | bytearray | memoryview) -> Sign1:
    """The message of a batch; neither its ``tf`` header nor its signature is checked."""
    if len(data) > MAX_BATCH_BYTES:
        limit = f"at most {MAX_BATCH_BYTES} bytes"
        raise PeerError(TOO_LONG, "batch", MAX_BATCH_BYTES, limit, len(data))
    return parse_sign1(bytes(data), MAX_BATCH_BYTES, understood=(EXTENSION,))


def read_header(message: Sign1) -> BatchHeader:
    """The ``tf`` header of a parsed message, every field in range and agreeing with the others."""
    at = message.protected_at
    if message.unprotected:
        raise wrong("unprotected header", at, "empty", sorted(map(str, message.unprotected))[:12])
    content_type = message.protected.get(CONTENT_TYPE)
    if content_type != senml.CONTENT_TYPE:
        raise wrong("content type", at, senml.CONTENT_TYPE, repr(content_type)[:80])
    blob(message.protected.get(KID), "kid", at, KID_BYTES, KID_BYTES)
    items = array(message.protected.get(EXTENSION), "tf header", at, _ELEMENTS, _ELEMENTS)
    lengths = array(items[8], "lengths", at, 1, MAX_RECORDS)
    boot_id, mono_ms, wall_ms, unc_ms, clock_state = array(items[7], "anchor", at, 5, 5)
    header = BatchHeader(
        identifier(items[0], "gateway", at),
        integer(items[1], "key_epoch", at, 0, MAX_U32),
        integer(items[2], "stream", at),
        integer(items[3], "first", at, 1),
        integer(items[4], "last", at, 1),
        blob(items[5], "head", at, HEAD_BYTES, HEAD_BYTES),
        blob(items[6], "prev", at, HEAD_BYTES, HEAD_BYTES),
        Anchor(
            blob(boot_id, "boot_id", at, BOOT_ID_BYTES, BOOT_ID_BYTES),
            integer(mono_ms, "mono_ms", at, 0, MAX_WALL_MS),
            None if wall_ms is None else integer(wall_ms, "wall_ms", at, MIN_WALL_MS, MAX_WALL_MS),
            integer(unc_ms, "unc_ms", at, 0, MAX_WALL_MS),
            integer(clock_state, "clock_state", at, CLOCK_NONE, CLOCK_SYNCHRONISED),
        ),
        tuple(integer(length, "length", at, 1, MAX_RECORD_BYTES) for length in lengths),
        integer(items[9], "compression", at, COMPRESSION_NONE, COMPRESSION_ZSTD),
    )
    _check_header(header, at)
    return header


def check_signature(message: Sign1, header: BatchHeader, key_lookup: KeyLookup) -> None:
    """PeerError: UNKNOWN (no such key of this gateway, or another algorithm), BAD_TAG."""
    kid = blob(message.protected.get(KID), "kid", message.protected_at, KID_BYTES, KID_BYTES)
    key = key_lookup(header.gateway, kid)
    if key is None:
        raise PeerError(
            UNKNOWN, "kid", message.protected_at, f"a known key of {header.gateway}", kid.hex()
        )
    verify1(message, key)


def unpack(message: Sign1, header: BatchHeader) -> tuple[int, tuple[bytes, ...]]:
    """The number of maps the pack says it has, and the records' bytes, cut by ``lengths``."""
    size = sum(header.lengths)
    where = "pack"
    at = message.payload_at
    pack = message.payload
    if header.compression == COMPRESSION_ZSTD:
        pack = _decompress(pack, at, size)
        where = "decompressed pack"
        at = 0
    if not pack or pack[0] >> 5 != 4:
        raise wrong(f"{where}: first byte", at, "an array", hex(pack[0]) if pack else "nothing")
    try:
        maps, begin = cbor.read_head(pack, 0)
    except PeerError as error:
        raise PeerError(
            error.code, f"{where}: {error.message}", at, error.expected, error.got
        ) from None
    if len(pack) - begin != size:
        expected = f"{size} bytes of records, as lengths says"
        raise PeerError(TRUNCATED, where, at, expected, len(pack) - begin)
    records = []
    for length in header.lengths:
        records.append(pack[begin : begin + length])
        begin += length
    return maps, tuple(records)


def check_chain(header: BatchHeader, records: Sequence[bytes]) -> None:
    """PeerError(BAD_ORDER) unless the records lead from ``prev`` to ``head``."""
    head = fold(header.prev, records)
    if head != header.head:
        raise PeerError(
            BAD_ORDER,
            f"chain of records {header.first} to {header.last} does not lead to head",
            -1,
            header.head.hex(),
            head.hex(),
        )


def check_maps(declared: int, counted: int) -> None:
    """PeerError(BAD_VALUE) unless the pack's array has as many maps as its head says."""
    if declared != counted:
        raise wrong("array of the pack", -1, f"{declared} maps, as its head says", counted)


def count_maps(record: bytes) -> int:
    """How many SenML maps ``record`` is made of; PeerError if it is not CBOR."""
    at = count = 0
    while at < len(record):
        _, at = cbor.read(record, at)
        count += 1
    return count


def _header_items(header: BatchHeader) -> list[object]:
    if not is_identifier(header.gateway):
        raise wrong("gateway", -1, IDENTIFIER_RULE, header.gateway)
    if not 1 <= len(header.lengths) <= MAX_RECORDS:
        raise wrong("records", -1, f"1 to {MAX_RECORDS}", len(header.lengths))
    for length in header.lengths:
        integer(length, "length of a record", -1, 1, MAX_RECORD_BYTES)
    anchor = header.anchor
    integer(header.key_epoch, "key_epoch", -1, 0, MAX_U32)
    integer(header.stream, "stream", -1)
    blob(header.prev, "prev", -1, HEAD_BYTES, HEAD_BYTES)
    blob(header.head, "head", -1, HEAD_BYTES, HEAD_BYTES)
    blob(anchor.boot_id, "boot_id", -1, BOOT_ID_BYTES, BOOT_ID_BYTES)
    integer(anchor.mono_ms, "mono_ms", -1, 0, MAX_WALL_MS)
    integer(anchor.unc_ms, "unc_ms", -1, 0, MAX_WALL_MS)
    integer(anchor.clock_state, "clock_state", -1, CLOCK_NONE, CLOCK_SYNCHRONISED)
    if anchor.wall_ms is not None:
        integer(anchor.wall_ms, "wall_ms", -1, MIN_WALL_MS, MAX_WALL_MS)
    _check_header(header, -1)
    return [
        header.gateway,
        header.key_epoch,
        header.stream,
        header.first,
        header.last,
        header.head,
        header.prev,
        [anchor.boot_id, anchor.mono_ms, anchor.wall_ms, anchor.unc_ms, anchor.clock_state],
        list(header.lengths),
        header.compression,
    ]


def _check_header(header: BatchHeader, at: int) -> None:
    integer(header.first, "first", at, 1)
    integer(header.last, "last", at, header.first, MAX_NUMBER)
    count = header.last - header.first + 1
    if count != len(header.lengths):
        raise wrong("lengths", at, f"{count}, as first and last say", len(header.lengths))
    if sum(header.lengths) > MAX_PACK_BYTES - _MAX_ARRAY_HEAD:
        raise PeerError(
            TOO_LONG, "sum of lengths", at, f"at most {MAX_PACK_BYTES}", sum(header.lengths)
        )
    if (header.first == 1) != (header.prev == GENESIS):
        expected = "32 zero bytes exactly before record 1"
        raise wrong("prev", at, expected, f"{header.prev.hex()} before record {header.first}")
    if (header.anchor.wall_ms is None) != (header.anchor.clock_state == CLOCK_NONE):
        got = f"{header.anchor.wall_ms}, state {header.anchor.clock_state}"
        raise wrong("wall_ms of the anchor", at, "null exactly with clock state 0", got)


def _array_head(count: int) -> bytes:
    head = cbor.encode_int(count)
    return bytes((head[0] | 0x80,)) + head[1:]


def _decompress(frame: bytes, at: int, size: int) -> bytes:
    try:
        parameters = zstandard.get_frame_parameters(frame)
    except zstandard.ZstdError as error:
        raise wrong("payload", at, "a zstd frame", str(error)) from None
    # The size a frame claims is allocated at once, so it is held against the signed lengths first.
    if not size < parameters.content_size <= size + _MAX_ARRAY_HEAD:
        expected = f"{size} and an array head, as lengths says"
        raise PeerError(TOO_LONG, "size of the zstd frame", at, expected, parameters.content_size)
    if parameters.window_size > _MAX_WINDOW:
        limit = f"at most {_MAX_WINDOW} bytes"
        raise PeerError(TOO_LONG, "window of the zstd frame", at, limit, parameters.window_size)
    try:
        return zstandard.ZstdDecompressor().decompress(
            frame, max_output_size=size + _MAX_ARRAY_HEAD, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise PeerError(BAD_VALUE, "zstd payload", at, "an undamaged frame", str(error)) from None
