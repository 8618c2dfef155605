"""The bookkeeping that judges a run must see what is missing, doubled or unexplained."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from hil.demo.run import _judge
from hil.demo.screen import Row, Value, View, draw, progress
from hil.demo.site import CollectorProcess, Site, SiteError
from hil.site.ledger import Account, read_database, read_ledger
from protocols.uplink.record import Gap, Stamp, event_record, gap_record, sample_record
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
    account = read_ledger(records)[DEVICE]
    assert account.missing(3, 6) == []
    assert account.doubled() == []
    assert account.unexplained() == []
    assert account.readings == 16
    assert account.in_gaps() == 2


def test_what_is_missing_is_named() -> None:
    account = read_ledger([sample(3, 1), sample(3, 4), gap("bus_timeout", 3, 2, 2)])[DEVICE]
    assert account.missing(3, 6) == [3, 5, 6]
    # A gap of another boot, or one without a range, covers nothing here.
    others = [sample(3, 1), gap("node_reset", 2, 1, 9), gap("crc", 3, None, None)]
    assert read_ledger(others)[DEVICE].missing(3, 2) == [2]


def test_doubled_samples_and_gaps_over_recorded_ones() -> None:
    account = read_ledger([sample(1, 1), sample(1, 1), sample(1, 2), gap("crc", 1, 2, 3)])[DEVICE]
    assert account.doubled() == [(1, 1), (1, 2)]


def test_a_node_with_a_new_key_counts_from_one_again() -> None:
    records = [sample(1, seq) for seq in (1, 2, 3)]
    records += [gap("node_reset", 1, None, None), gap("node_reset", 1, 1, 1)]
    records += [sample(1, seq, key_id=2) for seq in (2, 5)]
    account = read_ledger(records)[DEVICE]
    assert account.doubled() == []
    assert account.missing(1, 5) == [3, 4]
    assert account.in_gaps() == 1
    assert sorted(account.samples[1]) == [2, 5]
    records += [gap("crc", 1, 3, 5), sample(1, 6, key_id=2), sample(1, 6, key_id=2)]
    account = read_ledger(records)[DEVICE]
    assert account.missing(1, 6) == []
    assert account.doubled() == [(1, 6), (1, 5)]


def test_readings_are_points_with_quality_ok_and_events_are_kept() -> None:
    frame = bytearray(2 * EVENT_WORDS)
    pack_header(frame, 0x01FF, 1, 1, 2, 5000, 0, 2)
    pack_events(frame, 2, [(1, 0, 10), (4, 1, 20)])
    seal(frame, 1, MAC, UID)
    header, events = decode_events(frame)
    record = event_record(DEVICE, header, events, bytes(frame), STAMP, after=0)
    account = read_ledger([sample(1, 1, (0, 2, 0, 5)), record.data])[DEVICE]
    assert account.readings == 2
    assert account.events == ["boot", "motion"]


def test_unknown_cause_is_unexplained() -> None:
    account = Account(gaps=[Gap("gremlins", 1, 1, 2, ""), Gap("crc", 1, 1, 2, "")])
    assert [gap.cause for gap in account.unexplained()] == ["gremlins"]


def test_database_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.Error):
        read_database(tmp_path / "none.db")


def figures(**changed: object) -> dict[str, object]:
    good: dict[str, object] = dict.fromkeys(
        ("readings_recorded", "readings_delivered", "readings_verified"), 100
    )
    good |= dict.fromkeys(("bad_signatures", "node_tag_failures", "records_refused"), 0)
    return good | changed


def test_judgement_of_a_run() -> None:
    roles = {"air": 50, "water": 30, "camera": 20}
    assert _judge(figures(), roles, []) == []
    assert "100, 99, 100" in _judge(figures(readings_delivered=99), roles, [])[0]
    assert "100, 100, 7" in _judge(figures(readings_verified=7), roles, [])[0]
    assert "air sample 1/3" in _judge(figures(), roles, ["air sample 1/3"])[0]
    assert "role camera" in _judge(figures(), roles | {"camera": 0}, [])[0]
    assert "node_tag_failures" in _judge(figures(node_tag_failures=1), roles, [])[0]


def test_site_wants_a_folder_of_its_own(tmp_path: Path) -> None:
    Site(tmp_path / "new")
    (tmp_path / "file").touch()
    with pytest.raises(SiteError, match="expected an empty folder"):
        Site(tmp_path)


async def test_collector_that_does_not_come_up_says_why(tmp_path: Path) -> None:
    collector = CollectorProcess(tmp_path / "missing.toml")
    with pytest.raises(SiteError, match=r"(?s)did not come up.*missing\.toml"):
        await collector.start()
    await collector.stop()


def test_table_and_progress_line_show_the_same_moment() -> None:
    from rich.console import Console

    row = Row(
        "air-1",
        "air",
        [Value("pm2_5", "122", "ug/m3", good=True), Value("co2", "-", "ppm", good=False)],
        1.25,
        "ok",
        42,
        3,
    )
    view = View([row], 8.0, 30.0, "2015-01-29T08:00", 500, 4, 450, 77, 2, "noise", ["air-1: x"])
    console = Console(width=110, record=True, file=None, force_terminal=False)
    with console.capture() as captured:
        console.print(draw(view))
    text = captured.get()
    for part in ("air-1", "pm2_5 122 µg/m³", "1.2 s", "42", "receipted to 77", "500", "2 gaps"):
        assert part in text
    assert "co2 -" in text
    assert "ppm" not in text
    assert progress(view) == (
        "   8 s  42 polls, 3 errors, 500 readings recorded, 450 delivered, 4 records waiting, "
        "2 gaps  (noise)"
    )
