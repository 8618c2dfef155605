"""Which rows a batch stands for: written by the commit, and proved again by the audit."""

import hashlib
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from protocols.uplink import (
    CLOCK_NAMES,
    KIND_NAMES,
    BatchHeader,
    Decoded,
    FormatError,
    decode_record,
)

from .new_record import NewRecord
from .node_files import file_name

Row: TypeAlias = tuple[object, ...]


def digest_of(gateway: str, boot_id: bytes, data: bytes) -> bytes:
    """Return 16 bytes that identify a record, whatever stream it comes in, as version 4 did."""
    return hashlib.sha256(gateway.encode() + b"|" + boot_id + data).digest()[:16]


def ordered_digest(gateway: str, boot_id: bytes, resp_ms: int, data: bytes) -> bytes:
    """Return what identifies a record since version 5: it begins with the record's moment.

    New records then stand beside each other in the index. In the order of a hash each of them would
    be on another page of it, and each commit would write all these pages.
    """
    return resp_ms.to_bytes(6, "big") + digest_of(gateway, boot_id, data)[:10]


def seal(*fields: object) -> bytes:
    """Return 8 bytes over a row that no batch proves, so that a flipped bit in it is found."""
    return hashlib.sha256(repr(fields).encode()).digest()[:8]


def refused_row(stream_id: int, seq: int, data: bytes, reason: str) -> Row:
    """Return the row of a record that is kept although it is wrong."""
    return (stream_id, seq, data, reason, seal(stream_id, seq, data, reason))


@dataclass(slots=True)
class BatchRows:
    """Rows by table; ``readings`` has stream, number and content of each record with readings."""

    records: list[Row] = field(default_factory=list)
    readings: list[tuple[int, int, Decoded]] = field(default_factory=list)
    failures: list[Row] = field(default_factory=list)
    events: list[Row] = field(default_factory=list)
    gaps: list[Row] = field(default_factory=list)
    files: list[Row] = field(default_factory=list)
    actions: list[Row] = field(default_factory=list)
    refused: list[Row] = field(default_factory=list)


def rows_of(stream_id: int, header: BatchHeader, new: Iterable[NewRecord]) -> BatchRows:
    """Return what is to be stored of the records ``new`` of a batch."""
    rows = BatchRows()
    boot_id = header.anchor.boot_id
    for item in new:
        record = item.decoded
        if record is None:
            rows.refused.append(refused_row(stream_id, item.seq, item.data, item.reason))
            continue
        at = (stream_id, item.seq)
        stamp = record.stamp
        rows.records.append(
            (
                *at, record.device_id, KIND_NAMES[record.kind], stamp.wall_ms, stamp.unc_ms,
                CLOCK_NAMES[stamp.clock_state], item.auth, record.status, item.boot_epoch,
                item.sample_seq, boot_id, stamp.resp_ms,
                ordered_digest(header.gateway, boot_id, stamp.resp_ms, item.data), item.key_id,
            )
        )  # fmt: skip
        if record.points:
            rows.readings.append((*at, record))
        if record.failures:
            rows.failures += [(*at, name, quality) for name, quality in record.failures]
        if record.events:
            rows.events += [(*at, e.number, e.name, e.arg, e.offset_ms) for e in record.events]
        if record.part is not None:
            part = record.part
            rows.files.append(
                (*at, record.device_id, file_name(part), part.boot_epoch, part.number, part.size,
                 part.offset, len(part.data))
            )  # fmt: skip
        if record.action is not None:
            action = record.action
            rows.actions.append(
                (*at, record.device_id, action.name, action.operator, action.arg, action.detail)
            )
        if record.gap is not None:
            gap = record.gap
            rows.gaps.append(
                (*at, record.device_id, gap.cause, gap.boot_epoch, gap.first, gap.last, gap.detail,
                 gap.slots, gap.from_ms, gap.to_ms)
            )  # fmt: skip
    return rows


def is_in_other_stream(connection: sqlite3.Connection, header: BatchHeader, data: bytes) -> bool:
    """Return whether a record of a batch is stored in another stream of its gateway."""
    plain = digest_of(header.gateway, header.anchor.boot_id, data)
    try:
        resp_ms = decode_record(data).stamp.resp_ms
    except FormatError:
        return False  # what cannot be read is no record of any stream
    ordered = ordered_digest(header.gateway, header.anchor.boot_id, resp_ms, data)
    row = connection.execute(
        "SELECT 1 FROM records JOIN streams ON streams.id = stream_id"
        " WHERE digest IN (?, ?) AND gateway = ? AND stream <> ?",
        (plain, ordered, header.gateway, header.stream),
    ).fetchone()
    return row is not None
