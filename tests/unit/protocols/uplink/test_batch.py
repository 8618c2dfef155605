"""Building and opening batches: round trips, caps, the chain between batches, the RFC's view."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from protocols.uplink import (
    GENESIS,
    Anchor,
    Batch,
    build_batch,
    decode_record,
    fold,
    link,
    open_batch,
)
from protocols.uplink.batch import count_maps, parse_batch, read_header
from protocols.uplink.batch_header import MAX_RECORDS
from protocols.wire.errors import BAD_TAG, BAD_VALUE, TOO_LONG, UNKNOWN, LocalError, PeerError

from . import senml_reader
from .support import ANCHOR, GATEWAY, KEY, PUBLIC, Lookup, batch_of, one_key, polls


@pytest.mark.parametrize("compress", [False, True])
@given(count=st.integers(1, 40), points=st.integers(1, 12), seed=st.integers())
def test_round_trip(compress: bool, count: int, points: int, seed: int) -> None:
    records = polls(count, points, seed, failing=True)
    batch = open_batch(batch_of(records, compress=compress), one_key())
    assert list(batch.records) == [record.data for record in records]
    header = batch.header
    assert (header.first, header.last, header.prev) == (1, count, GENESIS)
    assert header.head == fold(GENESIS, batch.records)
    decoded = batch.decode()
    assert [record.readings for record in decoded] == [record.readings for record in records]
    assert decoded == tuple(map(decode_record, batch.records))


def test_batches_of_any_cut_chain_alike() -> None:
    records = polls(10, 2)
    data = [record.data for record in records]
    for cut in (1, 4, 9):
        first = open_batch(batch_of(records[:cut]), one_key())
        rest = batch_of(records[cut:], cut + 1, first.header.head, compress=True)
        assert open_batch(rest, one_key()).header.head == fold(GENESIS, data)


def test_link_is_one_step_of_fold() -> None:
    assert link(link(GENESIS, b"a"), b"b") == fold(GENESIS, [b"a", b"b"])


def test_given_head_and_maps_make_the_same_bytes() -> None:
    records = [record.data for record in polls(5, 4)]
    made = [
        build_batch(
            gateway=GATEWAY,
            key_epoch=1,
            stream=7,
            first=1,
            prev=GENESIS,
            anchor=ANCHOR,
            records=records,
            key=KEY,
            compress=False,
            maps=maps,
            head=head,
        )
        for maps, head in ((None, None), (25, fold(GENESIS, records)))
    ]
    assert made[0] == made[1]
    assert [count_maps(record) for record in records] == [5] * 5


def test_the_pack_is_senml_to_a_reader_who_knows_only_the_rfc() -> None:
    records = polls(3, 2)
    data = batch_of(records)
    pack = senml_reader.decode_pack(parse_batch(data).payload)
    values = [(entry.name, entry.unit, entry.value) for entry in pack if entry.unit]
    times = [entry.time for entry in pack if entry.unit]
    expected = []
    for record in map(decode_record, open_batch(data, one_key()).records):
        assert record.stamp.wall_ms is not None
        wall = record.stamp.wall_ms / 1000
        expected += [(f"gw-01.meter/{name}", unit, v, wall) for name, unit, v in record.values]
    assert [(*value, time) for value, time in zip(values, times, strict=True)] == expected
    assert len(expected) == 6


def test_a_changed_value_spoils_the_signature_and_a_foreign_key_does_not_help() -> None:
    records = polls(2, 2)
    data = batch_of(records)
    raw = records[0].data[-2:]
    changed = data.replace(raw, bytes([raw[0], raw[1] ^ 1]))
    assert changed != data
    for damaged, key in ((changed, PUBLIC), (data, Ed25519PrivateKey.generate().public_key())):
        with pytest.raises(PeerError) as caught:
            open_batch(damaged, one_key(key))
        assert caught.value.code == BAD_TAG
    with pytest.raises(PeerError) as caught:
        open_batch(data, Lookup(None))
    assert caught.value.code == UNKNOWN


def test_a_record_that_cannot_be_read_is_named() -> None:
    good = polls(3, 1)
    records = [good[0].data, good[1].data + b"\xf7", good[2].data]
    data = build_batch(
        gateway=GATEWAY,
        key_epoch=1,
        stream=7,
        first=41,
        prev=bytes(31) + b"\x01",
        anchor=ANCHOR,
        records=records,
        key=KEY,
        compress=True,
        maps=6,
    )
    batch = open_batch(data, one_key())
    with pytest.raises(PeerError, match="record 42: "):
        batch.decode()


def test_the_array_head_must_count_right() -> None:
    record = polls(1, 1)[0].data
    data = build_batch(
        gateway=GATEWAY,
        key_epoch=1,
        stream=7,
        first=1,
        prev=GENESIS,
        anchor=ANCHOR,
        records=[record],
        key=KEY,
        compress=False,
        maps=3,
    )
    with pytest.raises(PeerError, match="3 maps, as its head announces"):
        open_batch(data, one_key()).decode()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"gateway": "gw/1"}, BAD_VALUE),
        ({"key_epoch": 1 << 32}, BAD_VALUE),
        ({"stream": -1}, BAD_VALUE),
        ({"first": 0}, BAD_VALUE),
        ({"first": 2}, BAD_VALUE),
        ({"prev": bytes(31)}, BAD_VALUE),
        ({"head": bytes(31)}, BAD_VALUE),
        ({"records": []}, BAD_VALUE),
        ({"records": [b""]}, BAD_VALUE),
        ({"records": [b"\xa0"] * (MAX_RECORDS + 1), "maps": 1}, BAD_VALUE),
        ({"records": [bytes(65_000)] * 130, "maps": 1}, TOO_LONG),
        ({"records": [bytes(60_000)] * 20, "maps": 1}, TOO_LONG),
        ({"anchor": Anchor(bytes(15), 0, None, 0, 0)}, BAD_VALUE),
        ({"anchor": Anchor(bytes(16), 0, None, 0, 3)}, BAD_VALUE),
        ({"anchor": Anchor(bytes(16), 0, 1_765_432_100_000, 0, 0)}, BAD_VALUE),
        ({"anchor": Anchor(bytes(16), -1, None, 0, 0)}, BAD_VALUE),
    ],
)
def test_what_a_batch_cannot_carry(changes: dict[str, object], code: int) -> None:
    fields: dict[str, object] = {
        "gateway": GATEWAY,
        "key_epoch": 1,
        "stream": 7,
        "first": 1,
        "prev": GENESIS,
        "anchor": ANCHOR,
        "records": [polls(1, 1)[0].data],
        "key": KEY,
        "compress": False,
    }
    with pytest.raises(LocalError) as caught:
        build_batch(**(fields | changes))  # type: ignore[arg-type] # the wrong types are the test
    assert caught.value.code == code


def test_the_largest_batch_is_read() -> None:
    record = polls(1, 1)[0]
    data = batch_of([record] * MAX_RECORDS, compress=True)
    batch = open_batch(data, one_key())
    assert isinstance(batch, Batch)
    assert len(batch.records) == MAX_RECORDS
    assert read_header(parse_batch(data)) == batch.header


def test_aim_of_six_bytes_per_reading() -> None:
    # Random register values: nothing in real data is harder to compress.
    for count, points in ((100, 10), (10, 100)):
        data = batch_of(polls(count, points), compress=True)
        assert len(data) <= 6 * 1000
