"""A pack without what the frames of nodes hold already, for who pays for each byte.

The values in the record of a node's sample follow from the frame in it
(:func:`.record_write.sample_points`), so a *short record* is its head alone, with the length of the
frame in the frame's place. The frames stand behind all records, those of one length by columns:
first byte of each, second byte of each and so on, because what changes little from frame to frame
then stands side by side. Only who has the node's register map can make the records whole again.
Records, chain and signature are about the whole ones. Layout: ``docs/formats.md``.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from protocols.wire.errors import TRUNCATED, PeerError
from protocols.wire.sample import decode

from . import cbor
from .batch_header import MAX_ARRAY_HEAD
from .checks import Integer, wrong
from .errors import FormatError
from .record_types import EXTENSION, MAX_FRAME_BYTES, SAMPLE
from .record_write import sample_points

# Label "tf", an array of six, kind 1: in the head of every sample; that it is one is checked then.
_SAMPLE_MARK: Final = cbor.encode(EXTENSION) + b"\x86" + cbor.encode(SAMPLE)
_LONGEST_HEAD: Final = 200
_FRAME_LENGTH: Final = Integer(1, MAX_FRAME_BYTES)
_MAPS: Final = Integer()


def shorten(records: Sequence[bytes], maps: int) -> bytes | None:
    """Return the short pack of ``records``, ``maps`` SenML maps; None if no record gets shorter."""
    parts: list[bytes] = []
    is_short: list[bool] = []
    columns: dict[int, list[bytes]] = {}
    for record in records:
        found = _short(record)
        is_short.append(found is not None)
        if found is None:
            parts.append(record)
            continue
        head, frame = found
        parts.append(head)
        columns.setdefault(len(frame), []).append(frame)
    if not columns:
        return None
    runs = [len(list(run)) for _, run in groupby(is_short)]
    if is_short[0]:
        runs.insert(0, 0)  # the first run is of whole records
    blocks = [b"".join(map(bytes, zip(*frames, strict=True))) for frames in columns.values()]
    return b"".join((cbor.encode([maps, runs]), *parts, *blocks))


def max_runs_bytes(records: int) -> int:
    """Return how many bytes a short pack of so many records may have beside their own."""
    return MAX_ARRAY_HEAD * (records + 4)


def expand(pack: bytes, lengths: Sequence[int]) -> tuple[int, tuple[bytes, ...]]:
    """Return the number of maps that a short pack announces, and its records made whole.

    ``lengths``: of the whole records, from the batch's header. FormatError: what is no short pack,
    a frame of a register map that is not known here, a record of another length.
    """
    item, at = cbor.read(pack[: max_runs_bytes(len(lengths))])
    if not isinstance(item, list) or len(item) != 2 or not isinstance(item[1], list):
        raise wrong("short pack", 0, "[maps, [length of each run]]", repr(item)[:80])
    maps = _MAPS.unpack(item[0], "maps of the short pack", 0)
    heads: list[tuple[bytes, int]] = []  # of each record; with the length of its frame, or whole: 0
    for length, is_short in zip(lengths, _kinds(item[1], len(lengths)), strict=True):
        if is_short:
            head, frame_length, at = _head(pack, at)
            heads.append((head, frame_length))
        else:
            heads.append((pack[at : at + length], 0))
            at += length
    frames = _frames(pack, at, [length for _, length in heads if length])
    records = []
    for (head, frame_length), length in zip(heads, lengths, strict=True):
        record = _whole(head, next(frames[frame_length])) if frame_length else head
        if len(record) != length:
            expected = f"{length} bytes, as lengths give"
            raise FormatError(TRUNCATED, "record of the short pack", -1, expected, len(record))
        records.append(record)
    return maps, tuple(records)


def _short(record: bytes) -> tuple[bytes, bytes] | None:
    """Return the short form of a record and its frame, if they make exactly the record again."""
    if _SAMPLE_MARK not in record[:_LONGEST_HEAD]:
        return None
    try:
        item, end = cbor.read(record)
        frame = _last_of_extension(item)
        if not isinstance(frame, bytes) or not 1 <= len(frame) <= MAX_FRAME_BYTES:
            return None
        head = record[: end - len(cbor.encode(frame))] + cbor.encode_int(len(frame))
        return (head, frame) if _whole(head, frame) == record else None
    except FormatError:
        return None


def _last_of_extension(head: cbor.Item) -> cbor.Item:
    """Return the last element of ``tf`` in a record's head, where a frame stands, or its length."""
    extension = head.get(EXTENSION) if isinstance(head, dict) else None
    return extension[-1] if isinstance(extension, list) and extension else None


def _whole(head: bytes, frame: bytes) -> bytes:
    """Return the record of a short one and its frame. FormatError: not of a map known here."""
    try:
        points = sample_points(decode(frame))
    except PeerError as error:
        raise FormatError(error.code, "frame in the short pack", -1, message=str(error)) from None
    cut = head[: len(head) - len(cbor.encode_int(len(frame)))]
    return b"".join((cut, cbor.encode(frame), *map(cbor.encode, points)))


def _head(pack: bytes, at: int) -> tuple[bytes, int, int]:
    """Return the short record at ``at``, the length of its frame, and the offset past it."""
    item, end = cbor.read(pack, at)
    length = _FRAME_LENGTH.unpack(_last_of_extension(item), "length of a frame", at)
    if not pack.endswith(cbor.encode_int(length), at, end):
        raise wrong("short record", at, "the length of the frame at its end", "another item")
    return pack[at:end], length, end


def _kinds(runs: Sequence[cbor.Item], count: int) -> Iterator[bool]:
    """Return for each of ``count`` records whether it is short; the first run is of whole ones."""
    sizes = [Integer(0, count).unpack(run, "run of the short pack", 0) for run in runs]
    if sum(sizes) != count or 0 in sizes[1:]:
        raise wrong("runs of the short pack", 0, f"{count} records, none empty", repr(sizes)[:80])
    return (bool(number % 2) for number, size in enumerate(sizes) for _ in range(size))


def _frames(pack: bytes, at: int, lengths: Sequence[int]) -> dict[int, Iterator[bytes]]:
    """Return the frames of each length, in order, from the columns that end the pack."""
    if at + sum(lengths) != len(pack):
        expected = f"{sum(lengths)} bytes of frames behind the records"
        raise FormatError(TRUNCATED, "short pack", at, expected, len(pack) - at)
    frames = {}
    for length in dict.fromkeys(lengths):
        count = lengths.count(length)
        block = pack[at : at + length * count]
        frames[length] = iter([block[index::count] for index in range(count)])
        at += length * count
    return frames
