"""The ledger finds what is missing, doubled or unexplained."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from hil.site.ledger import DeviceLedger, ledgers_of_database, ledgers_of_records
from protocols.uplink import Gap, Stamp, event_record, gap_record, sample_record
from protocols.wire.hmac import HmacSha256
from protocols.wire.registers import EVENT_WORDS, WATER
from protocols.wire.sample import (
    decode,
    decode_events,
    pack_events,
    pack_header,
    pack_values,
    seal,
)

STAMP = Stamp(1000, 1010, None, 0, 0)
UID = bytes(range(12))
DEVICE = f"tf-{UID.hex()}"
MAC = HmacSha256(b"k" * 32)


def sample(epoch: int, seq: int, quality: tuple[int, ...] = (0, 0, 0, 0), key_id: int = 1) -> bytes:
    """The record of one sample of a water node."""
    frame = bytearray(2 * WATER.words)
    pack_header(frame, WATER.map_id, WATER.version, epoch, seq, 5000, 0, 0)
    raw = [
        0 if code else value for code, value in zip(quality, (1953, 1250, 740, 120), strict=True)
    ]
    pack_values(WATER, frame, bytearray(quality), raw)
    seal(frame, key_id, MAC, UID)
    return sample_record(DEVICE, decode(frame), bytes(frame), STAMP).data


def gap(cause: str, epoch: int | None, first: int | None, last: int | None) -> bytes:
    return gap_record(DEVICE, Gap(cause, epoch, first, last, "why"), STAMP).data


def test_recorded_and_gaps_cover_every_sample() -> None:
    records = [sample(3, seq) for seq in (1, 2, 5, 6)] + [gap("crc", 3, 3, 4)]
    ledger = ledgers_of_records(records)[DEVICE]
    assert ledger.missing(3, 6) == []
    assert ledger.doubled() == []
    assert ledger.unexplained() == []
    assert ledger.readings == 16
    assert ledger.in_gaps() == 2


def test_what_is_missing_is_named() -> None:
    ledger = ledgers_of_records([sample(3, 1), sample(3, 4), gap("bus_timeout", 3, 2, 2)])[DEVICE]
    assert ledger.missing(3, 6) == [3, 5, 6]
    # A gap of another boot, or one without a range, covers nothing here.
    others = [sample(3, 1), gap("node_reset", 2, 1, 9), gap("crc", 3, None, None)]
    assert ledgers_of_records(others)[DEVICE].missing(3, 2) == [2]


def test_doubled_samples_and_gaps_over_recorded_ones() -> None:
    ledger = ledgers_of_records([sample(1, 1), sample(1, 1), sample(1, 2), gap("crc", 1, 2, 3)])[
        DEVICE
    ]
    assert ledger.doubled() == [(1, 1), (1, 2)]


def test_a_node_with_a_new_key_counts_from_one_again() -> None:
    records = [sample(1, seq) for seq in (1, 2, 3)]
    records += [gap("node_reset", 1, None, None), gap("node_reset", 1, 1, 1)]
    records += [sample(1, seq, key_id=2) for seq in (2, 5)]
    ledger = ledgers_of_records(records)[DEVICE]
    assert ledger.doubled() == []
    assert ledger.missing(1, 5) == [3, 4]
    assert ledger.in_gaps() == 1
    assert sorted(ledger.samples[1]) == [2, 5]
    records += [gap("crc", 1, 3, 5), sample(1, 6, key_id=2), sample(1, 6, key_id=2)]
    ledger = ledgers_of_records(records)[DEVICE]
    assert ledger.missing(1, 6) == []
    assert ledger.doubled() == [(1, 6), (1, 5)]


def test_readings_are_points_with_quality_ok_and_events_are_kept() -> None:
    frame = bytearray(2 * EVENT_WORDS)
    pack_header(frame, 0x01FF, 1, 1, 2, 5000, 0, 2)
    pack_events(frame, 2, [(1, 0, 10), (4, 1, 20)])
    seal(frame, 1, MAC, UID)
    header, events = decode_events(frame)
    record = event_record(DEVICE, header, events, bytes(frame), STAMP, after=0)
    ledger = ledgers_of_records([sample(1, 1, (0, 2, 0, 5)), record.data])[DEVICE]
    assert ledger.readings == 2
    assert ledger.events == ["boot", "motion"]


def test_unknown_cause_is_unexplained() -> None:
    ledger = DeviceLedger(gaps=[Gap("gremlins", 1, 1, 2, ""), Gap("crc", 1, 1, 2, "")])
    assert [gap.cause for gap in ledger.unexplained()] == ["gremlins"]


def test_database_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.Error):
        ledgers_of_database(tmp_path / "none.db")
