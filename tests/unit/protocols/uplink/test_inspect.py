"""Offline inspection: what is wrong and where, in one batch, between batches, in a whole file."""

import hashlib
import hmac
import struct
from collections.abc import Iterator

import pytest
import zstandard

from protocols.uplink import (
    GENESIS,
    Finding,
    Gap,
    Inspection,
    MissingSamples,
    Record,
    SampleAccount,
    Stamp,
    build_batch,
    check_proof,
    decode_record,
    event_record,
    fold,
    gap_record,
    key_id,
    sample_record,
)
from protocols.uplink.account import MAX_OPEN
from protocols.uplink.batch import parse_batch
from protocols.uplink.cose import sign1
from protocols.uplink.inspect import ERROR, NOTE
from protocols.wire.errors import BAD_ORDER, BAD_TAG, BAD_VALUE, TRUNCATED, UNKNOWN, PeerError
from protocols.wire.hmac import HmacSha256
from protocols.wire.sample import decode, decode_events

from .support import ANCHOR, GATEWAY, KEY, Lookup, batch_of, one_key, polls

NODE_KEY = bytes(range(32))
UID = bytes.fromhex("3a001f000d51383437363136")
NODE = "tf-" + UID.hex()
STAMP = Stamp(1_000, 1_040, 1_765_432_100_000, 20, 3)


def node_keys(uid: bytes, key_id: int) -> HmacSha256 | None:
    return HmacSha256(NODE_KEY) if (uid, key_id) == (UID, 1) else None


def frame_of(
    epoch: int, seq: int, distance: int = 1500, key: bytes = NODE_KEY, key_id: int = 1
) -> bytes:
    """A water node's sample frame, signed with ``key``."""
    body = struct.pack(">HHIIIHH", 0x0102, 1, epoch, seq, 5_000 * seq, 0, 0)
    body += struct.pack(">HHhHH", 0, distance, 1712, 698, 35) + struct.pack(">H", key_id)
    return body + hmac.new(key, body + UID, hashlib.sha256).digest()[:16]


def event_frame() -> bytes:
    body = struct.pack(">HHIIIHH", 0x01FF, 1, 1, 2, 9_000, 0, 2)
    body += struct.pack(">HHIHHI", 1, 0, 10, 2, 5, 8_000) + bytes(14 * 8) + struct.pack(">H", 1)
    return body + hmac.new(NODE_KEY, body + UID, hashlib.sha256).digest()[:16]


def sample(epoch: int, seq: int, key: bytes = NODE_KEY) -> Record:
    frame = frame_of(epoch, seq, key=key)
    return sample_record(NODE, decode(frame), frame, STAMP)


def run(data: bytes, inspection: Inspection | None = None) -> list[Finding]:
    return list((inspection or Inspection(one_key(), node_keys)).run(data))


def chained(*groups: list[Record], compress: bool = False) -> Iterator[bytes]:
    """One batch per group, each going on from the one before."""
    first, head = 1, GENESIS
    for group in groups:
        yield batch_of(group, first, head, compress)
        first += len(group)
        head = fold(head, [record.data for record in group])


@pytest.mark.parametrize("compress", [False, True])
def test_a_sound_file_has_no_findings(compress: bool) -> None:
    frame = event_frame()
    header, events = decode_events(frame)
    nodes = [
        sample(1, 1),
        sample(1, 2),
        event_record(NODE, header, events, frame, STAMP, 0),
        gap_record(NODE, Gap("bus_timeout", 1, 3, 4, ""), STAMP),
        sample(1, 5),
        sample(2, 1),
    ]
    inspection = Inspection(one_key(), node_keys)
    data = b"".join(chained(polls(3, 2), nodes, polls(2, 4), compress=compress))
    assert run(data, inspection) == []
    assert (inspection.batches, inspection.records, inspection.readings) == (3, 11, 6 + 16 + 8)
    assert (inspection.signatures, inspection.tags, inspection.gaps) == (3, 5, 1)
    assert inspection.errors == 0


def test_without_keys_only_that_is_noted() -> None:
    (finding,) = run(batch_of(polls(1, 1)), Inspection())
    assert (finding.severity, finding.batch) == (NOTE, 1)
    assert "no key" in finding.message


def test_a_flipped_bit_is_found_where_it_spoils_a_record() -> None:
    records = polls(5, 2)
    data = batch_of(records)
    at = data.index(records[2].data) + len(records[2].data) - 4
    changed = data[:at] + b"\xf7" + data[at + 1 :]
    signature, chain, record = run(changed)
    assert (signature.code, signature.offset) == (BAD_TAG, len(data) - 64)
    assert (chain.code, chain.offset) == (BAD_ORDER, -1)
    assert (record.record, record.seq, record.offset) == (3, 3, at)
    assert record.code in (UNKNOWN, BAD_VALUE)
    assert f"batch 1, record 3 (seq 3), byte {at}: " in str(record)


def test_in_a_compressed_pack_the_offset_is_the_packs() -> None:
    good = polls(3, 1)
    records = [good[0].data, good[1].data, good[2].data + b"\xf7"]
    data = build_batch(
        gateway=GATEWAY,
        key_epoch=1,
        stream=7,
        first=1,
        prev=GENESIS,
        anchor=ANCHOR,
        records=records,
        key=KEY,
        compress=True,
        maps=6,
    )
    (finding,) = run(data)
    assert finding.in_pack
    assert finding.offset == 1 + sum(map(len, records)) - 1
    assert "of the decompressed pack" in str(finding)


def test_lengths_that_do_not_fit_the_decompressed_pack() -> None:
    record = polls(1, 1)[0].data
    pack = zstandard.compress(b"\x82" + record)
    anchor = [bytes(16), 0, None, 0, 0]
    tf = [GATEWAY, 1, 7, 1, 1, fold(GENESIS, [record]), GENESIS, anchor, [len(record) - 1], 1]
    header: dict[int | str, object] = {
        3: "application/senml+cbor",
        4: key_id(KEY.public_key()),
        "tf": tf,
    }
    sound = batch_of(polls(1, 1))
    findings = run(sound + sign1(header, pack, KEY))
    assert [(finding.batch, finding.in_pack, finding.offset) for finding in findings[-1:]] == [
        (2, True, 0)
    ]
    assert "of the decompressed pack" in str(findings[-1])


def test_a_damaged_zstd_payload() -> None:
    data = batch_of(polls(20, 5), compress=True)
    message = parse_batch(data)
    at = message.payload_at + len(message.payload) // 2
    findings = run(data[:at] + bytes(8) + data[at + 8 :])
    assert findings[0].code == BAD_TAG
    assert all(finding.severity == ERROR for finding in findings)


def test_unknown_key_names_the_gateway() -> None:
    (finding,) = run(batch_of(polls(1, 1)), Inspection(Lookup(None)))
    assert finding.code == UNKNOWN
    assert GATEWAY in str(finding)


@pytest.mark.parametrize(
    ("second", "severity", "text"),
    [
        (lambda head: batch_of(polls(2, 1), 4, head), ERROR, "records 3 to 3 are missing"),
        (lambda head: batch_of(polls(2, 1), 3, head[::-1]), ERROR, "does not go on"),
        (lambda head: batch_of(polls(2, 1, seed=9), 1), ERROR, "fork"),
        (lambda head: batch_of(polls(2, 1), 1), NOTE, "again"),
        (lambda head: batch_of(polls(2, 1), 1, stream=8), NOTE, "stream 8"),
        (lambda head: batch_of(polls(2, 1), 1, gateway="gw-02"), NOTE, "gw-02"),
    ],
)
def test_links_between_batches(second, severity, text) -> None:  # type: ignore[no-untyped-def] # table
    records = polls(2, 1)
    data = batch_of(records)
    head = fold(GENESIS, [record.data for record in records])
    (finding,) = run(data + second(head))
    assert (finding.severity, finding.batch, finding.offset) == (severity, 2, len(data))
    assert text in str(finding)


def test_batches_out_of_order_are_told_from_repeated_ones() -> None:
    groups = [[sample(1, 2 * at + 1), sample(1, 2 * at + 2)] for at in range(4)]
    one, two, three, four = chained(*groups)
    inspection = Inspection(one_key(), node_keys)
    missing, late, again = run(one + three + two + four + two, inspection)
    assert "records 3 to 4 are missing" in str(missing)
    assert (late.severity, late.batch, late.offset) == (ERROR, 3, len(one + three))
    assert "out of order: records 3 to 4 come after record 6" in str(late)
    assert (again.severity, again.batch) == (NOTE, 5)
    assert "records 3 to 4 again" in str(again)
    assert inspection.readings == 8 * 4 + 2 * 4

    # Backwards nothing is missing and nothing is there twice, and yet it is not good.
    findings = run(four + three + two + one)
    assert [finding.batch for finding in findings] == [2, 3, 4]
    assert all("out of order" in str(finding) for finding in findings)


def test_a_batch_out_of_order_must_fit_its_neighbours() -> None:
    records = [polls(2, 1, seed=seed) for seed in range(3)]
    one, two, three = chained(*records)
    head = fold(GENESIS, [record.data for record in records[0]])
    _, late, fork = run(one + three + batch_of(polls(2, 1, seed=9), 3, head) + two)
    assert "fork: another chain up to record 4" in str(late)
    assert "fork" in str(fork) or "again" in str(fork)


def test_many_holes_cost_bounded_memory() -> None:
    inspection = Inspection()
    prev = bytes(range(32))
    data = batch_of(polls(1, 1))
    data += b"".join(batch_of(polls(1, 1), 2 * at + 1, prev) for at in range(1, 1200))
    missing = [finding for finding in run(data, inspection) if finding.severity == ERROR]
    assert len(missing) == 1199
    assert len(inspection._order._seen) == 1000
    assert len(inspection._order._heads) == 1000


def test_reading_goes_on_behind_rubbish() -> None:
    one, two, three = chained(polls(2, 1), polls(2, 1), polls(1, 1))
    inspection = Inspection(one_key())
    rubbish = b"\xd2\x84\x00 rubbish \xd2\x84"
    findings = run(one + rubbish + two + three[:-5], inspection)
    places = [(finding.severity, finding.offset) for finding in findings]
    end = len(one + rubbish + two)
    assert places[0][0] == ERROR
    assert places[0][1] in range(len(one), len(one) + len(rubbish))
    assert places[1] == (NOTE, len(one + rubbish))
    assert findings[2].code == TRUNCATED
    assert places[3] == (NOTE, end)
    assert inspection.readings == 4


def test_empty_input() -> None:
    (finding,) = run(b"")
    assert finding.code == TRUNCATED


def test_a_wrong_node_key_and_an_unknown_one() -> None:
    data = batch_of([sample(1, 1, key=bytes(32))])
    (finding,) = run(data)
    assert (finding.code, finding.record) == (BAD_TAG, 1)
    (finding,) = run(data, Inspection(one_key(), lambda uid, key_id: None))
    assert finding.code == UNKNOWN
    assert run(data, Inspection(one_key())) == []


def test_a_gateway_that_alters_a_nodes_value_is_found_out() -> None:
    record = sample(1, 1)
    value = b"\x19" + (1500).to_bytes(2, "big")
    assert record.data.count(value) == 1
    altered = record.data.replace(value, b"\x19" + (1499).to_bytes(2, "big"))
    (finding,) = run(batch_of([record._replace(data=altered)]))
    assert finding.code == BAD_VALUE
    assert "distance of the record does not follow from the node's frame" in str(finding)


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        (b"eevent\x03\x64boot", b"eevent\x03\x64Boot", "events"),
        (b"\x00\x66status\x02\x00", b"\x00\x66status\x02\x01", "status"),
    ],
)
def test_altered_events(old: bytes, new: bytes, field: str) -> None:
    frame = event_frame()
    header, events = decode_events(frame)
    data = event_record(NODE, header, events, frame, STAMP, 0).data
    assert old in data
    assert check_proof(decode_record(data), node_keys).seq == 2
    with pytest.raises(PeerError, match=f"{field} of the record"):
        check_proof(decode_record(data.replace(old, new)), node_keys)


def test_event_times_are_the_frames_up_to_when_it_was_read() -> None:
    frame = event_frame()
    header, events = decode_events(frame)
    for node_ms, offsets in ((None, [-8_990, -1_000]), (12_000, [-11_990, -4_000])):
        data = event_record(NODE, header, events, frame, STAMP, 0, node_ms).data
        record = decode_record(data)
        assert [event.offset_ms for event in record.events] == offsets
        check_proof(record, node_keys)
    late = decode_record(event_record(NODE, header, events, frame, STAMP, 0, 8_999).data)
    with pytest.raises(PeerError, match="time of the events"):
        check_proof(late, node_keys)
    first, second = record.events
    apart = record._replace(events=(first, second._replace(offset_ms=second.offset_ms - 1)))
    with pytest.raises(PeerError, match="events of the record"):
        check_proof(apart, node_keys)


def test_hidden_samples_are_found_and_named() -> None:
    records = [sample(1, 1), sample(1, 5), gap_record(NODE, Gap("crc", 1, 2, 3, ""), STAMP)]
    (finding,) = run(batch_of(records))
    assert (finding.severity, finding.code) == (ERROR, BAD_ORDER)
    assert "samples 4 to 4 are missing" in str(finding)


def test_a_repeated_sample_is_found() -> None:
    (finding,) = run(batch_of([sample(1, 1), sample(1, 2), sample(1, 2)]))
    assert (finding.record, finding.seq, finding.code) == (3, 3, BAD_ORDER)
    assert "repeat or a replay" in str(finding)


def test_a_batch_sent_twice_is_no_repeat_of_samples() -> None:
    data = batch_of([sample(1, 1), sample(1, 2)])
    (finding,) = run(data + data)
    assert finding.severity == NOTE


def test_findings_of_one_batch_are_limited() -> None:
    good = polls(200, 1)
    bad = [record._replace(data=record.data + b"\xf7") for record in good]
    findings = run(batch_of(bad) + batch_of(good, 201, fold(GENESIS, [r.data for r in bad])))
    assert len(findings) == 101
    assert "100 findings more" in str(findings[-1])


def test_account_explains_before_and_after() -> None:
    account = SampleAccount()
    account.gap("a", Gap("crc", 1, 4, 4, ""))
    account.gap("a", Gap("crc", 1, 5, 5, ""))
    account.gap("a", Gap("operator", None, None, None, ""))
    assert account.sample("a", 1, 2) == ""
    assert account.sample("a", 1, 9) == ""
    assert account.missing() == [MissingSamples("a", 1, 3, 3), MissingSamples("a", 1, 6, 8)]
    account.gap("a", Gap("crc", 1, 7, 7, ""))
    account.gap("a", Gap("crc", 2, 1, 100, ""))
    assert account.missing() == [
        MissingSamples("a", 1, 3, 3),
        MissingSamples("a", 1, 6, 6),
        MissingSamples("a", 1, 8, 8),
    ]
    account.gap("a", Gap("crc", 1, 0, 100, ""))
    assert account.missing() == []
    assert account.sample("a", 1, 9) != ""
    assert account.sample("a", 0, 99) != ""
    assert account.sample("a", 2, 1) == ""


def test_account_orders_the_samples_of_each_key_for_itself() -> None:
    account = SampleAccount()
    assert account.sample("a", 9, 500, 1) == ""
    assert account.sample("a", 9, 503, 1) == ""
    account.gap("a", Gap("crc", 1, 1, 2, ""))
    assert account.sample("a", 1, 3, 2) == ""
    assert "a replay" in account.sample("a", 1, 3, 2)
    assert account.sample("a", 1, 5, 2) == ""
    # What was missing under the old key is not explained by a later gap with the same numbers.
    account.gap("a", Gap("crc", 9, 501, 502, ""))
    assert account.missing() == [MissingSamples("a", 9, 501, 502), MissingSamples("a", 1, 4, 4)]
    # An old key that comes back goes on where it ended.
    assert "a replay" in account.sample("a", 9, 503, 1)
    assert account.sample("a", 9, 504, 1) == ""
    assert "a replay" in account.sample("a", 1, 5, 2)


def test_a_node_with_a_new_key_is_no_replay() -> None:
    secret = bytes(reversed(range(32)))
    frame = frame_of(1, 1, key=secret, key_id=2)
    renewed = sample_record(NODE, decode(frame), frame, STAMP)
    keys = {1: HmacSha256(NODE_KEY), 2: HmacSha256(secret)}
    inspection = Inspection(one_key(), lambda uid, key_id: keys[key_id])
    assert run(batch_of([sample(7, 90), renewed]), inspection) == []
    assert inspection.tags == 2


def test_account_forgets_nothing_silently() -> None:
    account = SampleAccount()
    for seq in range(0, 2 * (MAX_OPEN + 6), 2):
        account.sample("a", 1, seq)
    assert account.overflow() == [MissingSamples("a", 1, seq, seq) for seq in (1, 3, 5, 7, 9)]
    assert len(account.missing()) == MAX_OPEN
