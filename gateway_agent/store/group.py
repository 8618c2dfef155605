"""A group holds the records of one commit in one row, with everything that proves them.

One row per commit instead of one per record costs a third less processor time (measured: 1.1
against 1.7 us per record at 100 records per commit) and bounds what damage can take: a group that
does not hash to its head is lost, its neighbours are not.

Row: ``first``, ``boot_id``, ``prev``, ``head``, ``sizes``, ``seal``, ``data``. ``head`` proves
``data`` (the chain from ``prev``); ``seal`` is SHA-256 over all the rest, cut to 16 bytes.
``sizes`` is little endian: per record u32 length, then u16 readings, u16 maps and u8 kind.
"""

import hashlib
import struct
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from protocols.uplink import Record, fold

from .errors import StoreDamaged

MAX_RECORDS: Final = 1000  # per group: what one flipped bit can take
MAX_BYTES: Final = 256 * 1024
_PER_RECORD: Final = 9

Row = tuple[int, bytes, bytes, bytes, bytes, bytes, bytes]


def seal(first: int, boot_id: bytes, prev: bytes, head: bytes, sizes: bytes) -> bytes:
    """Hash everything in the row but the data, which ``head`` proves, into 16 bytes."""
    text = b"%d|" % first + boot_id + prev + head + sizes
    return hashlib.sha256(text).digest()[:16]


class Group(NamedTuple):
    """Records ``first`` to ``last`` of the stream."""

    first: int
    boot_id: bytes
    prev: bytes
    head: bytes
    records: tuple[Record, ...]

    @property
    def last(self) -> int:
        """Return the sequence number of the last record."""
        return self.first + len(self.records) - 1


def row_of(first: int, boot_id: bytes, prev: bytes, records: Sequence[Record]) -> Row:
    """Make the row of a group whose first record follows the head ``prev``."""
    data, readings, kinds, maps = zip(*records, strict=True)
    head = fold(prev, data)
    count = len(records)
    sizes = struct.pack(
        f"<{count}I{count}H{count}H{count}B", *map(len, data), *readings, *maps, *kinds
    )
    sealed = seal(first, boot_id, prev, head, sizes)
    return first, boot_id, prev, head, sizes, sealed, b"".join(data)


class ChainPart(NamedTuple):
    """A group as a part of the chain: ``prev`` is the head before it, ``head`` the one after."""

    first: int
    last: int
    prev: bytes
    head: bytes


def part_of(row: Sequence[object]) -> ChainPart:
    """Check a stored row whole, without taking it apart; StoreDamaged names what does not fit."""
    return _proved(row)[0]


def group_of(row: Sequence[object]) -> Group:
    """Check a stored row and take it apart; StoreDamaged names what does not fit."""
    part, boot_id, pieces, numbers = _proved(row)
    count = len(pieces)
    counted = (numbers[count : 2 * count], numbers[3 * count :], numbers[2 * count : 3 * count])
    records = tuple(map(Record, pieces, *counted))
    return Group(part.first, boot_id, part.prev, part.head, records)


def _proved(row: Sequence[object]) -> tuple[ChainPart, bytes, list[bytes], tuple[int, ...]]:
    """Return a row that is as it was written: its place, boot, records and their figures."""
    first, boot_id, prev, head, sizes, sealed, data = row
    if not (
        isinstance(first, int)
        and isinstance(boot_id, bytes)
        and isinstance(prev, bytes)
        and isinstance(head, bytes)
        and isinstance(sizes, bytes)
        and isinstance(data, bytes)
    ):
        raise StoreDamaged(f"group {first!r}: a column holds another type than was written")
    count, rest = divmod(len(sizes), _PER_RECORD)
    if rest or not count or sealed != seal(first, boot_id, prev, head, sizes):
        raise StoreDamaged(f"group {first}: its seal does not fit its columns")
    numbers = struct.unpack(f"<{count}I{count}H{count}H{count}B", sizes)
    pieces = list(_cut(data, numbers[:count]))
    if sum(numbers[:count]) != len(data) or fold(prev, pieces) != head:
        raise StoreDamaged(f"group {first}: its records do not hash to its head")
    return ChainPart(first, first + count - 1, prev, head), boot_id, pieces, numbers


def readings_of(sizes: bytes) -> tuple[int, ...]:
    """Read the number of readings of each record from the ``sizes`` column alone."""
    count = len(sizes) // _PER_RECORD
    return struct.unpack_from(f"<{count}H", sizes, 4 * count)


def split(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    """Cut ``records`` into runs that each fit one group."""
    begin = size = 0
    for at, record in enumerate(records):
        length = len(record.data)
        if at > begin and (at - begin >= MAX_RECORDS or size + length > MAX_BYTES):
            yield records[begin:at]
            begin, size = at, 0
        size += length
    if begin < len(records):
        yield records[begin:]


def _cut(data: bytes, lengths: Sequence[int]) -> Iterator[bytes]:
    at = 0
    for length in lengths:
        yield data[at : at + length]
        at += length
