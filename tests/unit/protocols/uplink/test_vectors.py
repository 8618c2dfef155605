"""The project's own vectors, made by an independent encoder: written so, read so, refused so."""

import re
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from protocols.uplink import (
    EVENTS,
    GAP,
    PROFILE,
    SAMPLE,
    Anchor,
    Gap,
    NodeEvent,
    ProfileTemplate,
    Receipt,
    Stamp,
    build_batch,
    decode_record,
    event_record,
    gap_record,
    open_batch,
    open_receipt,
    sample_record,
    sign_receipt,
)
from protocols.wire.errors import BAD_VALUE, LocalError, PeerError
from protocols.wire.sample import Event, Header, decode, decode_events

from . import generate, made_parts
from .support import Lookup, case_name, cases, stamp_of, vector_file


def test_vector_files_and_document_are_what_the_generator_makes() -> None:
    made = generate.vectors()
    for name, content in made.items():
        stored = (generate.VECTORS / f"{name}.json").read_text(encoding="utf-8")
        assert stored == generate.text_of(content), "python -m tests.unit.protocols.uplink.generate"
    text = generate.DOCUMENT.read_text(encoding="utf-8")
    assert text == generate.document(text, made), "python -m tests.unit.protocols.uplink.generate"
    assert text.count("<!-- vector: ") >= 4


def test_the_explained_bytes_are_those_of_the_example() -> None:
    text = generate.DOCUMENT.read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([0-9a-f. ]+)` \|", text, re.MULTILINE)
    assert len(rows) == 8
    explained = "".join(rows).replace(" ", "").replace("...", "[0-9a-f]+")
    assert re.match(explained, cases("record", "profile")[0]["hex"])


@pytest.mark.parametrize("case", cases("record", "profile"), ids=case_name)
def test_profile_record(case: dict[str, Any]) -> None:
    stamp = stamp_of(case["stamp"])
    points = [(name, unit, exp10) for name, unit, exp10 in case["points"]]
    record = ProfileTemplate(case["device_id"], points).record(case["raw"], stamp)
    assert record.data.hex() == case["hex"]
    assert (record.readings, record.kind, record.maps) == (case["readings"], PROFILE, case["maps"])
    read = decode_record(record.data)
    assert (read.device_id, read.kind, read.stamp) == (case["device_id"], PROFILE, stamp)
    assert (read.readings, read.maps) == (case["readings"], case["maps"])
    for value in read.values:
        exp10 = next(exp10 for name, _, exp10 in points if name == value.name)
        raw = case["raw"][[name for name, _, _ in points].index(value.name)]
        assert value.value == pytest.approx(raw * 10.0**exp10, rel=1e-15)


@pytest.mark.parametrize("case", cases("record", "sample"), ids=case_name)
def test_sample_record(case: dict[str, Any]) -> None:
    frame = bytes.fromhex(case["frame"])
    stamp = stamp_of(case["stamp"])
    record = sample_record(case["device_id"], decode(frame), frame, stamp)
    assert record.data.hex() == case["hex"]
    assert (record.readings, record.kind, record.maps) == (case["readings"], SAMPLE, case["maps"])
    read = decode_record(record.data)
    assert (read.device_id, read.kind, read.stamp) == (case["device_id"], SAMPLE, stamp)
    assert read.frame == frame
    assert read.status == 0x0010
    assert [list(value) for value in read.values] == case["values"]
    assert [list(failure) for failure in read.failures] == case["failures"]


@pytest.mark.parametrize("case", cases("record", "events"), ids=case_name)
def test_event_record(case: dict[str, Any]) -> None:
    frame = bytes.fromhex(case["frame"])
    header, events = decode_events(frame)
    stamp = stamp_of(case["stamp"])
    record = event_record(case["device_id"], header, events, frame, stamp, case["after"])
    assert record.data.hex() == case["hex"]
    assert (record.readings, record.kind, record.maps) == (0, EVENTS, case["maps"])
    read = decode_record(record.data)
    assert [list(event) for event in read.events] == case["events"]
    assert read.frame == frame


@pytest.mark.parametrize(
    ("event_ms", "frame_ms", "offset"),
    [(0, 0, 0), (2**32 - 100, 50, -150), (50, 2**32 - 100, 150), (0, 2**31, -(2**31))],
)
def test_event_offset_across_the_nodes_clock_wrap(
    event_ms: int, frame_ms: int, offset: int
) -> None:
    header = Header(0x01FF, 1, 1, 1, frame_ms, 0, 1, 1)
    stamp = Stamp(1, 2, None, 0, 0)
    record = event_record(made_parts.NODE, header, [Event(1, 99, 7, event_ms)], b"f", stamp, 0)
    assert decode_record(record.data).events == (NodeEvent(1, "event-99", 7, offset),)


@pytest.mark.parametrize("name", ["unknown", "device", "range", "half", "long", "wide"])
def test_what_a_gap_cannot_say(name: str) -> None:
    device, gap = {
        "unknown": (made_parts.NODE, Gap("boredom", None, None, None, "")),
        "device": ("a/b", Gap("crc", None, None, None, "")),
        "range": (made_parts.NODE, Gap("crc", 1, 3, 2, "")),
        "half": (made_parts.NODE, Gap("crc", 1, None, 2, "")),
        "long": (made_parts.NODE, Gap("crc", 1, 1, 2, "x" * 201)),
        "wide": (made_parts.NODE, Gap("crc", 1, 1, 1 << 32, "")),
    }[name]
    with pytest.raises(LocalError) as caught:
        gap_record(device, gap, Stamp(1, 2, None, 0, 0))
    assert caught.value.code == BAD_VALUE


@pytest.mark.parametrize("fields", [{"gateway": "a/b"}, {"stream": -1}, {"head": bytes(31)}])
def test_what_a_receipt_cannot_say(fields: dict[str, Any]) -> None:
    good = Receipt("gw-01", 7, 1, bytes(32), 0)
    with pytest.raises(LocalError) as caught:
        sign_receipt(replace(good, **fields), Ed25519PrivateKey.generate())
    assert caught.value.code == BAD_VALUE


@pytest.mark.parametrize("case", cases("gap", "gap"), ids=case_name)
def test_gap_record(case: dict[str, Any]) -> None:
    gap = Gap(*case["gap"])
    record = gap_record(case["device_id"], gap, stamp_of(case["stamp"]))
    assert record.data.hex() == case["hex"]
    assert (record.readings, record.kind, record.maps) == (0, GAP, 1)
    read = decode_record(record.data)
    assert (read.device_id, read.gap, read.readings) == (case["device_id"], gap, 0)


@pytest.mark.parametrize(
    "case", cases("record", "refused") + cases("gap", "refused"), ids=case_name
)
def test_record_is_refused(case: dict[str, Any]) -> None:
    with pytest.raises(PeerError) as caught:
        decode_record(bytes.fromhex(case["hex"]))
    assert (caught.value.code, caught.value.offset) == (case["code"], case["offset"])
    assert caught.value.expected is not None
    assert caught.value.got is not None


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("case", cases("batch", "batch"), ids=case_name)
def test_batch_is_read(case: dict[str, Any], kind: type) -> None:
    content = vector_file("batch")
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(content["public_key"]))
    lookup = Lookup(key)
    batch = open_batch(kind(bytes.fromhex(case["hex"])), lookup)
    assert lookup.asked == [("gw-01", bytes.fromhex(content["kid"]))]
    header = batch.header
    assert [record.hex() for record in batch.records] == case["records"]
    assert (header.gateway, header.key_epoch, header.stream) == ("gw-01", 1, 7)
    assert (header.first, header.last) == (case["first"], case["first"] + len(batch.records) - 1)
    assert (header.prev.hex(), header.head.hex()) == (case["prev"], case["head"])
    assert header.anchor == Anchor(bytes.fromhex(case["boot_id"]), *case["anchor"])
    assert batch.maps == case["maps"]
    assert sum(record.maps for record in batch.decode()) == case["maps"]


def test_batch_is_written() -> None:
    content = vector_file("batch")
    case = content["batch"][0]
    data = build_batch(
        gateway=case["gateway"],
        key_epoch=case["key_epoch"],
        stream=case["stream"],
        first=case["first"],
        prev=bytes.fromhex(case["prev"]),
        anchor=Anchor(bytes.fromhex(case["boot_id"]), *case["anchor"]),
        records=[bytes.fromhex(record) for record in case["records"]],
        key=Ed25519PrivateKey.from_private_bytes(bytes.fromhex(content["secret_key"])),
        compress=False,
    )
    assert data.hex() == case["hex"]


@pytest.mark.parametrize("case", cases("batch", "refused"), ids=case_name)
def test_batch_is_refused(case: dict[str, Any]) -> None:
    content = vector_file("batch")
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(content["public_key"]))
    kid = bytes.fromhex(content["kid"])
    with pytest.raises(PeerError) as caught:
        open_batch(bytes.fromhex(case["hex"]), lambda gateway, asked: key if asked == kid else None)
    assert caught.value.code == case["code"], str(caught.value)


@pytest.mark.parametrize("case", cases("receipt", "receipt"), ids=case_name)
def test_receipt(case: dict[str, Any]) -> None:
    content = vector_file("receipt")
    secret = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(content["secret_key"]))
    receipt = Receipt(
        case["gateway"],
        case["stream"],
        case["contiguous_to"],
        bytes.fromhex(case["head"]),
        case["server_ms"],
    )
    assert open_receipt(bytes.fromhex(case["hex"]), secret.public_key()) == receipt
    if "-8" not in case["name"]:
        assert sign_receipt(receipt, secret).hex() == case["hex"]


@pytest.mark.parametrize("case", cases("receipt", "refused"), ids=case_name)
def test_receipt_is_refused(case: dict[str, Any]) -> None:
    content = vector_file("receipt")
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(content["public_key"]))
    with pytest.raises(PeerError) as caught:
        open_receipt(bytes.fromhex(case["hex"]), key)
    assert caught.value.code == case["code"], str(caught.value)
