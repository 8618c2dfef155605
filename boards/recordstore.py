"""The record store's layout on the host: provision a board, look into a board's flash.

The second implementation of the ``record_store.c`` of the image boards; its header describes the
layout and why it survives power cuts. Here one image is the content of both sectors, one after the
other (offsets in errors count from its begin). Whoever flashes an image must flash both sectors:
the one with the higher sequence counts.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

SECTORS = 2
#: Bytes of one sector (sectors 10 and 11 of the chip, RM0090 table 5).
SECTOR_BYTES = 128 * 1024
IMAGE_BYTES = SECTORS * SECTOR_BYTES

NAME_MAX = 15
DATA_MAX = 1024
NAMES_MAX = 16

SECTOR_MAGIC = 0x31534654
RECORD_MAGIC = 0x31524654
KILLED_MAGIC = 0x01024244
KILLED_SECTOR = 0x01424044
COMMIT = 0x00000000

WORD = 4
SECTOR_HEADER = 4 * WORD
RECORD_HEADER = 3 * WORD

# Of a sector without header: records that are looked at, sequences that each is tried with.
_RECORDS_TRIED = 8
_SEQUENCES_TRIED = 4096


class RecordError(ValueError):
    """Records or an image are not allowed; the text has place, what was expected, what came."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What an image holds, read as the node reads it.

    ``sector`` is the one in force and ``sequence`` its number; ``end`` is the offset in it behind
    the last word that is not blank. ``torn`` are the offsets in the image, each with a reason, of
    what is neither a record nor blank: after power cuts there may be such places. ``lost``: no
    power cut can have left one of them, so a newer record may have been there.
    """

    records: Mapping[str, bytes]
    sector: int
    sequence: int
    end: int
    torn: tuple[tuple[int, str], ...]
    lost: bool


def padded(count: int) -> int:
    """Return ``count`` bytes in whole words."""
    return (count + WORD - 1) // WORD * WORD


def record_bytes(name: str, data: bytes) -> int:
    """Return the bytes that one record takes."""
    return RECORD_HEADER + padded(len(name)) + padded(len(data)) + WORD


def sector_header(sequence: int) -> bytes:
    """Return the four words at the begin of a sector."""
    head = struct.pack("<II", SECTOR_MAGIC, sequence)
    return head + struct.pack("<II", zlib.crc32(head), COMMIT)


def encode(sequence: int, offset: int, name: str, data: bytes) -> bytes:
    """Return one record as it stands at ``offset`` of a sector with that ``sequence``."""
    check_record(name, data)
    raw = name.encode("ascii")
    lengths = struct.pack("<I", len(raw) | len(data) << 8)
    body = raw.ljust(padded(len(raw)), b"\0") + data.ljust(padded(len(data)), b"\0")
    crc = zlib.crc32(struct.pack("<II", sequence, offset) + lengths + body)
    return struct.pack("<I", RECORD_MAGIC) + lengths + struct.pack("<I", crc) + body + bytes(WORD)


def check_record(name: str, data: bytes) -> None:
    """Raise RecordError if the store cannot hold it."""
    if not 1 <= len(name) <= NAME_MAX or any(not "!" <= char <= "~" for char in name):
        raise RecordError(
            f"record {name!r}: expected a name of 1 to {NAME_MAX} printable ASCII characters "
            "without space"
        )
    if len(data) > DATA_MAX:
        raise RecordError(f"record {name!r}: expected at most {DATA_MAX} bytes, got {len(data)}")


def compose(records: Mapping[str, bytes], sector_bytes: int = SECTOR_BYTES) -> bytes:
    """Return the image of a store that holds ``records`` alone. RecordError if it cannot."""
    if len(records) > NAMES_MAX:
        raise RecordError(f"expected at most {NAMES_MAX} records, got {len(records)}")
    sector = sector_header(1)
    for name in sorted(records):
        sector += encode(1, len(sector), name, records[name])
    if len(sector) > sector_bytes:
        raise RecordError(f"expected at most {sector_bytes} bytes of records, got {len(sector)}")
    return sector.ljust(SECTORS * sector_bytes, b"\xff")


def contents(image: bytes) -> dict[str, bytes]:
    """Return the records of an image without damage: provisioned, or of a board never cut short.

    RecordError for anything else; :func:`survey` reads what a node would read of it.
    """
    found = survey(image)
    if found.torn:
        offset, why = found.torn[0]
        raise RecordError(f"image offset {offset:#x}: {why} ({len(found.torn)} such places)")
    return dict(found.records)


def survey(image: bytes) -> Survey:
    """Read what a node would read. RecordError without a valid sector, or for a wrong size."""
    if len(image) % (SECTORS * WORD) or len(image) < SECTORS * SECTOR_HEADER:
        raise RecordError(f"expected the {IMAGE_BYTES} bytes of both sectors, got {len(image)}")
    size = len(image) // SECTORS
    sectors = [image[index * size : (index + 1) * size] for index in range(SECTORS)]
    sequences = [_sequence(sector) for sector in sectors]
    for index, sector in enumerate(sectors):
        if not sequences[index]:
            sequences[index] = _rescued(sector, sequences[1 - index])
    if not any(sequences):
        raise RecordError(
            f"image offsets 0x0 and {size:#x}: expected a sector header ({SECTOR_MAGIC:#010x}, "
            f"sequence, CRC-32, {COMMIT:#010x}), got {image[:16].hex()} and "
            f"{image[size : size + 16].hex()}"
        )
    index = sequences.index(max(sequences))
    sector = sectors[index]
    used = padded(len(sector.rstrip(b"\xff")))
    records: dict[str, bytes] = {}
    torn: list[tuple[int, str]] = []
    offset, inside = SECTOR_HEADER, False
    lost, begun, seen = False, False, 0
    while offset < used:
        why, taken = _record(sector, offset, sequences[index], records)
        if not why:
            lost = lost or begun  # a record that a cut left would have been killed before this one
            begun = False
        if why and not inside:
            torn.append((index * size + offset, why))
        inside = bool(why)
        if why and taken == WORD and offset >= seen:
            good, reach = _explained(sector, offset, used)
            lost = lost or not good
            begun = begun or _word(sector, offset) == RECORD_MAGIC
            seen = offset + reach
        offset += taken
    return Survey(records, index, sequences[index], used, tuple(torn), lost)


def _word(sector: bytes, offset: int) -> int:
    return int.from_bytes(sector[offset : offset + WORD], "little")


def _sequence(sector: bytes) -> int:
    """Return the sequence in the header, also if one of its bits has flipped; 0: there is none."""
    stored = _word(sector, WORD)
    header = int.from_bytes(sector[:SECTOR_HEADER], "little")
    for sequence in (*(stored ^ 1 << bit for bit in range(32)), stored):
        whole = int.from_bytes(sector_header(sequence), "little")
        if sequence and (header ^ whole).bit_count() <= 1:
            return sequence
    return 0


def _rescued(sector: bytes, least: int) -> int:
    """Return the sequence above ``least`` under which a record of the sector is valid, or 0.

    For a sector whose header was programmed and is no more.
    """
    if _word(sector, 3 * WORD) != COMMIT or _word(sector, 0) == KILLED_SECTOR:
        return 0
    places = [
        offset
        for offset in range(SECTOR_HEADER, len(sector), WORD)
        if _word(sector, offset) == RECORD_MAGIC and _record_reach(sector, offset)
    ]
    for offset in places[:_RECORDS_TRIED]:
        for sequence in range(least + 1, least + 1 + _SEQUENCES_TRIED):
            if not _record(sector, offset, sequence, {})[0]:
                return sequence
    return 0


def _record_reach(sector: bytes, offset: int) -> int:
    """Return the bytes of the record at ``offset`` by its lengths; 0 if no record has those."""
    lengths = _word(sector, offset + WORD)
    name_len, data_len = lengths & 0xFF, lengths >> 8
    reach = RECORD_HEADER + padded(name_len) + padded(data_len) + WORD
    allowed = 1 <= name_len <= NAME_MAX and data_len <= DATA_MAX
    return reach if allowed and reach <= len(sector) - offset else 0


def _explained(sector: bytes, offset: int, used: int) -> tuple[bool, int]:
    """Return whether a power cut can have left what is at ``offset``, and how far that goes."""
    magic = _word(sector, offset)
    if magic not in (RECORD_MAGIC, KILLED_MAGIC):
        return magic & RECORD_MAGIC == RECORD_MAGIC, WORD
    known = _record_reach(sector, offset)
    reach = known or 2 * WORD
    if magic == KILLED_MAGIC:
        return True, reach
    committed = known and _word(sector, offset + reach - WORD) == COMMIT
    return used <= offset + reach and not committed, reach


def _record(
    sector: bytes, offset: int, sequence: int, records: dict[str, bytes]
) -> tuple[str, int]:
    """Take the record at ``offset``: why it is none, and how far to go on."""
    magic = _word(sector, offset)
    if magic == KILLED_MAGIC:
        return "a torn record, already given up by the node", WORD
    if magic != RECORD_MAGIC:
        return f"expected a record ({RECORD_MAGIC:#010x}), got {magic:#010x}", WORD
    lengths = _word(sector, offset + WORD)
    name_len, data_len = lengths & 0xFF, lengths >> 8
    if not 1 <= name_len <= NAME_MAX or data_len > DATA_MAX:
        return f"record of {name_len} and {data_len} bytes: more than allowed", WORD
    at = offset + RECORD_HEADER
    name = sector[at : at + name_len]
    at += padded(name_len)
    data = sector[at : at + data_len]
    try:
        text = name.decode("ascii")
        whole = encode(sequence, offset, text, data)
    except ValueError:  # RecordError among them
        return f"record name {name.hex()} is not printable ASCII", WORD
    found = sector[offset : offset + len(whole)]
    if found[:-WORD] != whole[:-WORD]:
        return f"record {text!r}: wrong CRC-32 or padding", WORD
    if found != whole:
        return f"record {text!r}: never committed", WORD
    if text not in records and len(records) == NAMES_MAX:
        return f"record {text!r}: one name more than the {NAMES_MAX} of a store", len(whole)
    records[text] = data
    return "", len(whole)
