"""The signed facts about a batch: its ``tf`` header, as a table and as a value."""

from dataclasses import dataclass
from typing import Final

from msgspec import Struct

from protocols.wire.errors import TOO_LONG

from .chain import GENESIS, HEAD_BYTES
from .checks import IDENTIFIER, MAX_U32, Bytes, Integer, Integers, Mismatch
from .layout import FormatField, Layout
from .record_layout import BOOT_MS, CLOCK_STATE, WALL_MS
from .record_types import CLOCK_NONE, MAX_RECORD_BYTES

MAX_PACK_BYTES: Final = 8 * 1024 * 1024
MAX_RECORDS: Final = 10_000
MAX_ARRAY_HEAD: Final = 5  # bytes of the head of the pack's array
BOOT_ID_BYTES: Final = 16

COMPRESSION_NONE: Final = 0
COMPRESSION_ZSTD: Final = 1
COMPRESSION_SHORT: Final = 2


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


class BatchHeader(Struct, frozen=True):
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


def _anchor_agrees(anchor: Anchor) -> Mismatch | None:
    if (anchor.wall_ms is None) == (anchor.clock_state == CLOCK_NONE):
        return None
    got = f"{anchor.wall_ms}, state {anchor.clock_state}"
    return Mismatch("null exactly with clock state 0", got, field="wall_ms of the anchor")


ANCHOR: Final = Layout(
    Anchor,
    FormatField("boot_id", Bytes(BOOT_ID_BYTES), "changes at every boot of the gateway"),
    FormatField("mono_ms", BOOT_MS, "ms since that boot"),
    FormatField("wall_ms", WALL_MS, "Unix time at `mono_ms`; null exactly when clock_state is 0"),
    FormatField("unc_ms", BOOT_MS, "how far it may be off"),
    FormatField("clock_state", CLOCK_STATE, "as in a record"),
    agree=_anchor_agrees,
)


@dataclass(frozen=True, slots=True)
class EarlierStream:
    """A stream that its gateway has left: a collector had it up to record ``to``.

    What a collector does not have of it will not come again. The stream that follows names records
    ``named_from`` to ``to`` itself; nothing of them if it is ``to`` + 1.
    """

    stream: int
    to: int
    named_from: int


EARLIER_STREAM: Final = Layout(
    EarlierStream,
    FormatField("stream", Integer(), "its number"),
    FormatField("to", Integer(), "a collector had records 1 to this one"),
    FormatField("named_from", Integer(1), "from here to `to` the stream that follows has a gap"),
)


def _header_agrees(header: BatchHeader) -> Mismatch | None:
    if header.last < header.first:
        return Mismatch(f"{header.first} or more", header.last, field="last")
    count = header.last - header.first + 1
    if count != len(header.lengths):
        expected = f"{count}, as first and last give"
        return Mismatch(expected, len(header.lengths), field="lengths")
    size = sum(header.lengths)
    if size > MAX_PACK_BYTES - MAX_ARRAY_HEAD:
        return Mismatch(f"at most {MAX_PACK_BYTES}", size, TOO_LONG, "sum of lengths")
    if (header.first == 1) != (header.prev == GENESIS):
        got = f"{header.prev.hex()} before record {header.first}"
        return Mismatch("32 zero bytes exactly before record 1", got, field="prev")
    return None


BATCH_HEADER: Final = Layout(
    BatchHeader,
    FormatField("gateway", IDENTIFIER, "its id"),
    FormatField("key_epoch", Integer(0, MAX_U32), "rises with each new key of this gateway"),
    FormatField("stream", Integer(), "number of the stream"),
    FormatField("first", Integer(1), "sequence number of the first record"),
    FormatField("last", Integer(1), "sequence number of the last record"),
    FormatField("head", Bytes(HEAD_BYTES), "chain head after `last`"),
    FormatField("prev", Bytes(HEAD_BYTES), "chain head before `first`; zeros exactly if that is 1"),
    FormatField("anchor", ANCHOR, "wall time at one instant; all records belong to this boot"),
    FormatField(
        "lengths",
        Integers(Integer(1, MAX_RECORD_BYTES), 1, MAX_RECORDS),
        "bytes of each record, in order",
    ),
    FormatField(
        "compression",
        Integer(COMPRESSION_NONE, COMPRESSION_SHORT),
        "0 none, 1 zstd, 2 zstd of a short pack",
    ),
    agree=_header_agrees,
)
