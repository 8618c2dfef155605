"""Batches: consecutive records of one stream, chained, optionally compressed, signed once.

A batch is a COSE_Sign1 with alg, content type, kid and ours, ``tf``, in the protected header (so
the signature covers it), an empty unprotected header, and as payload a SenML pack: the head of an
array and the records' bytes. Compressed, the payload is one zstd frame of that pack, or of its
short form (:mod:`.short_pack`). Layout: ``docs/formats.md``.

A stream is one life of an outbox, numbered by the gateway; its records are numbered from 1 without
a hole and never again. All times in a batch belong to one boot of the gateway, the anchor's.
"""

from collections.abc import Sequence
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Struct

from protocols.wire.errors import BAD_ORDER, TOO_LONG, TRUNCATED, UNKNOWN, LocalError

from . import cbor, senml
from .batch_header import (
    BATCH_HEADER,
    COMPRESSION_SHORT,
    COMPRESSION_ZSTD,
    EARLIER_STREAM,
    MAX_ARRAY_HEAD,
    Anchor,
    BatchHeader,
    EarlierStream,
)
from .chain import fold
from .checks import Bytes, Integer, wrong
from .compression import compressed_pack, decompress
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
from .errors import FormatError
from .record_read import decode_record
from .record_types import EXTENSION, Decoded
from .short_pack import expand, max_runs_bytes

MAX_BATCH_BYTES: Final = 1024 * 1024

RELEASED: Final = "tf-released"  # protected header of a sender that goes by the broker's word
EARLIER: Final = "tf-earlier"  # protected header of the first batch of a stream
MAX_EARLIER: Final = 32  # the newest streams that a gateway has left
_RELEASED: Final = Integer()
_KID: Final = Bytes(KID_BYTES)


class Batch(Struct, frozen=True):
    """An opened batch; ``maps`` is the number of SenML maps in the head of its pack.

    ``released``: records up to this one will not come again, because the sender forgets what a
    broker has acknowledged; 0 if it waits for receipts. ``earlier``: streams of the gateway before
    this one, in the first batch of a stream.
    """

    header: BatchHeader
    records: tuple[bytes, ...]
    maps: int
    released: int = 0
    earlier: tuple[EarlierStream, ...] = ()

    def decode(self) -> tuple[Decoded, ...]:
        """Read every record; the message of a FormatError names the sequence number."""
        decoded = []
        for seq, record in enumerate(self.records, self.header.first):
            try:
                decoded.append(decode_record(record))
            except FormatError as error:
                raise error.within(f"record {seq}") from None
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
    short: bool = False,
    maps: int | None = None,
    head: bytes | None = None,
    released: int = 0,
    earlier: Sequence[EarlierStream] = (),
) -> bytes:
    """Encode and sign records ``first`` to ``first + len(records) - 1``.

    ``compress``: with zstd. ``short``: without what can be made of the nodes' frames, too.
    ``maps``: the sum of the records' ``Record.maps``; counted here, slowly, when None. ``head``:
    the chain's head after the last record when the caller has it; folded here when None.
    ``released``, ``earlier``: see :class:`Batch`; 0 and an empty one are not sent.
    LocalError: BAD_VALUE for a field out of range, TOO_LONG when a cap (MAX_RECORDS,
    MAX_PACK_BYTES, MAX_BATCH_BYTES) is exceeded: send fewer records.
    """
    if maps is None:
        maps = sum(map(count_maps, records))
    lengths = tuple(map(len, records))
    compression, pack = compressed_pack(records, maps, compress, short)
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
        compression,
    )
    protected: dict[int | str, object] = {
        CONTENT_TYPE: senml.CONTENT_TYPE,
        KID: key_id(key.public_key()),
        EXTENSION: BATCH_HEADER.pack(header, "tf header"),
    }
    if released:
        protected[RELEASED] = _RELEASED.pack(released, RELEASED)
    if earlier:
        protected[EARLIER] = [EARLIER_STREAM.pack(one, EARLIER) for one in earlier]
    data = sign1(protected, pack, key)
    if len(data) > MAX_BATCH_BYTES:
        raise LocalError(TOO_LONG, "batch", -1, f"at most {MAX_BATCH_BYTES} bytes", len(data))
    return data


def open_batch(data: bytes | bytearray | memoryview, key_lookup: KeyLookup | None) -> Batch:
    """Read a batch: structure, signature, sizes and chain. Its records are not read yet.

    ``key_lookup(gateway, kid)`` returns the gateway's public key, or None for an unknown one. None
    in its place leaves the signature unchecked: of a batch that was verified when it came.
    FormatError: UNKNOWN (the key, then ``field`` is "kid"; alg, tag, critical header), BAD_TAG (the
    signature), BAD_ORDER (the chain does not lead from ``prev`` to ``head``), TOO_LONG, TRUNCATED,
    BAD_VALUE. Offsets are within ``data``; an offset in a decompressed pack is marked in the
    message.
    """
    message = parse_batch(data)
    header = read_header(message)
    if key_lookup is not None:
        check_signature(message, header, key_lookup)
    maps, records = unpack(message, header)
    check_chain(header, records)
    at = message.protected_at
    released = _RELEASED.unpack(message.protected.get(RELEASED, 0), RELEASED, at)
    return Batch(header, records, maps, released, _earlier(message))


def _earlier(message: Sign1) -> tuple[EarlierStream, ...]:
    item, at = message.protected.get(EARLIER, []), message.protected_at
    if not isinstance(item, list) or len(item) > MAX_EARLIER:
        raise wrong(EARLIER, at, f"an array of at most {MAX_EARLIER}", repr(item)[:80])
    return tuple(EARLIER_STREAM.unpack(one, EARLIER, at) for one in item)


def parse_batch(data: bytes | bytearray | memoryview) -> Sign1:
    """Take the message of a batch apart; ``tf`` header and signature are not checked yet."""
    if len(data) > MAX_BATCH_BYTES:
        limit = f"at most {MAX_BATCH_BYTES} bytes"
        raise FormatError(TOO_LONG, "batch", MAX_BATCH_BYTES, limit, len(data))
    return parse_sign1(bytes(data), MAX_BATCH_BYTES, understood=(EXTENSION,))


def read_header(message: Sign1) -> BatchHeader:
    """Return the ``tf`` header of a parsed message, each field in range and all in agreement."""
    at = message.protected_at
    if message.unprotected:
        raise wrong("unprotected header", at, "empty", sorted(map(str, message.unprotected))[:12])
    content_type = message.protected.get(CONTENT_TYPE)
    if content_type != senml.CONTENT_TYPE:
        raise wrong("content type", at, senml.CONTENT_TYPE, repr(content_type)[:80])
    _KID.unpack(message.protected.get(KID), "kid", at)
    return BATCH_HEADER.unpack(message.protected.get(EXTENSION), "tf header", at)


def check_signature(message: Sign1, header: BatchHeader, key_lookup: KeyLookup) -> None:
    """Verify the signature with the key that ``key_lookup`` has for the gateway and its kid.

    FormatError: UNKNOWN (no such key, ``field`` "kid"; or another algorithm), BAD_TAG.
    """
    kid = _KID.unpack(message.protected.get(KID), "kid", message.protected_at)
    key = key_lookup(header.gateway, kid)
    if key is None:
        raise FormatError(
            UNKNOWN, "kid", message.protected_at, f"a known key of {header.gateway}", kid.hex()
        )
    verify1(message, key)


def unpack(message: Sign1, header: BatchHeader) -> tuple[int, tuple[bytes, ...]]:
    """Return the number in the head of the pack and the records' bytes, cut by ``lengths``."""
    size = sum(header.lengths)
    where = "pack"
    at = message.payload_at
    pack = message.payload
    if header.compression == COMPRESSION_SHORT:
        most = size + max_runs_bytes(len(header.lengths))
        short = decompress(pack, at, 0, most)
        try:
            return expand(short, header.lengths)
        except FormatError as error:
            raise error.within("decompressed pack") from None
    if header.compression == COMPRESSION_ZSTD:
        pack = decompress(pack, at, size, size + MAX_ARRAY_HEAD)
        where = "decompressed pack"
        at = 0
    if not pack or pack[0] >> 5 != 4:
        raise wrong(f"{where}: first byte", at, "an array", hex(pack[0]) if pack else "nothing")
    try:
        maps, begin = cbor.read_head(pack, 0)
    except FormatError as error:
        raise error.within(where).moved(at) from None
    if len(pack) - begin != size:
        expected = f"{size} bytes of records, as lengths give"
        raise FormatError(TRUNCATED, where, at, expected, len(pack) - begin)
    records = []
    for length in header.lengths:
        records.append(pack[begin : begin + length])
        begin += length
    return maps, tuple(records)


def check_chain(header: BatchHeader, records: Sequence[bytes]) -> None:
    """Raise FormatError(BAD_ORDER) unless the records lead from ``prev`` to ``head``."""
    head = fold(header.prev, records)
    if head != header.head:
        raise FormatError(
            BAD_ORDER,
            f"chain of records {header.first} to {header.last} does not lead to head",
            -1,
            header.head.hex(),
            head.hex(),
        )


def check_maps(declared: int, counted: int) -> None:
    """Raise FormatError(BAD_VALUE) unless the pack has as many maps as its head announces."""
    if declared != counted:
        raise wrong("array of the pack", -1, f"{declared} maps, as its head announces", counted)


def count_maps(record: bytes) -> int:
    """Return how many SenML maps ``record`` is made of. FormatError if it is not CBOR."""
    at = count = 0
    while at < len(record):
        _, at = cbor.read(record, at)
        count += 1
    return count
