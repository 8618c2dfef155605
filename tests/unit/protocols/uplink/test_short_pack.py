"""Packs without what frames of nodes hold: the records come back byte for byte, or an error."""

import random
import struct
import tracemalloc

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protocols.uplink import GENESIS, Gap, Stamp, build_batch, gap_record, open_batch, sample_record
from protocols.uplink.batch import parse_batch, read_header
from protocols.uplink.errors import FormatError
from protocols.uplink.short_pack import expand, shorten
from protocols.wire import sample
from protocols.wire.errors import PeerError
from protocols.wire.hmac import HmacSha256
from protocols.wire.registers import AIR, WATER, RegisterMap
from tests.bench.uplink import node_records, profile_records

from .support import ANCHOR, cases

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
UID = bytes(range(12))
STAMP = Stamp(7_200_000, 7_200_041, 1_765_432_100_123, 20, 3)


def sample_of(register_map: RegisterMap, number: int, qualities: list[int] | None = None) -> bytes:
    frame = bytearray(2 * register_map.words)
    points = len(register_map.points)
    quality = qualities or [0] * points
    raw = [
        0 if code else point.low for code, point in zip(quality, register_map.points, strict=True)
    ]
    sample.pack_header(frame, register_map.map_id, register_map.version, 3, number, 5000, 0, 1)
    sample.pack_values(register_map, frame, quality, raw)
    sample.seal(frame, 1, HmacSha256(bytes(32)), UID)
    return sample_record(f"tf-{UID.hex()}", sample.decode(frame), bytes(frame), STAMP).data


def batch_of(records: list[bytes], short: bool) -> bytes:
    return build_batch(
        gateway="gw", key_epoch=0, stream=1, first=1, prev=GENESIS, anchor=ANCHOR, records=records,
        key=KEY, compress=True, short=short,
    )  # fmt: skip


def mixed() -> list[bytes]:
    """Records of every kind, samples of two roles, one whose values are not those of its frame."""
    air = [sample_of(AIR, number) for number in range(5)]
    failed = [sample_of(AIR, 9, [0, 4, 0, 0, 2, 0, 0])]
    water = [sample_of(WATER, number) for number in range(3)]
    forged = [air[0].replace(b"\x65pm1_0", b"\x65pm1_9")]
    gap = [gap_record("gw.d", Gap("crc", None, None, None, ""), STAMP).data]
    third = profile_records(10, 0)[:4]
    return air[:2] + third + water + gap + failed + forged + air[2:] + third


def compression_of(batch: bytes) -> int:
    return read_header(parse_batch(batch)).compression


def test_every_record_comes_back_byte_for_byte() -> None:
    records = mixed()
    batch = batch_of(records, short=True)
    assert compression_of(batch) == 2
    opened = open_batch(batch, lambda gateway, kid: KEY.public_key())
    assert list(opened.records) == records
    assert opened.header == read_header(parse_batch(batch))
    assert sum(record.maps for record in opened.decode()) == opened.maps
    assert len(batch) < len(batch_of(records, short=False))


def test_a_batch_without_samples_is_what_it_is_without_the_choice() -> None:
    records = profile_records(10, 0)
    assert batch_of(records, short=True) == batch_of(records, short=False)
    assert shorten(records, 1) is None


def test_a_reading_of_a_node_takes_less_than_six_bytes() -> None:
    for seed in range(3):
        records = node_records(seed)
        assert len(batch_of(records, short=True)) < 6.0 * 7 * len(records)


def test_a_small_pack_of_third_party_devices_is_searched_better() -> None:
    random_ = random.Random(1)
    records = [profile_records(10, random_.randrange(1000))[0] for _ in range(100)]
    with_names = [
        record.replace(b"gw-1.probe/", b"gw-1.d%04d/" % index)
        for index, record in enumerate(records)
    ]
    assert len(batch_of(with_names, short=False)) < 3.4 * 1000


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_changed_gives_the_records_or_an_error(seed: int) -> None:
    random_ = random.Random(seed)
    records = mixed()
    pack, lengths = shorten(records, 99), [len(record) for record in records]
    assert pack is not None
    assert expand(pack, lengths) == (99, tuple(records))
    for _ in range(500):
        changed = bytearray(pack)
        for _ in range(random_.randrange(1, 4)):
            at = random_.randrange(len(changed))
            match random_.randrange(3):
                case 0:
                    changed[at] = random_.randrange(256)
                case 1:
                    del changed[at : at + random_.randrange(1, 9)]
                case _:
                    changed[at:at] = random_.randbytes(random_.randrange(1, 9))
        try:
            _, found = expand(bytes(changed), lengths)
        except FormatError:
            continue
        assert [len(record) for record in found] == lengths


def test_runs_without_end_cost_little() -> None:
    runs = b"\x82\x00\x9a" + struct.pack(">I", 4_000_000) + b"\x01" * 4_000_000
    tracemalloc.start()
    try:
        with pytest.raises(PeerError):
            expand(runs, [65_536] * 60)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_fault_in_a_short_pack_is_placed_in_what_was_decompressed() -> None:
    refused = cases("batch", "refused")
    [case] = [case for case in refused if case["name"].endswith("a short record said to be whole")]
    with pytest.raises(FormatError, match=r"decompressed pack: CBOR item"):
        open_batch(bytes.fromhex(case["hex"]), None)
