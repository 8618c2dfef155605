"""Any input yields a batch (a record, a receipt, a pack) or a PeerError, nothing else, in bounded
memory.

Mutated bytes of a signed message mostly end at the signature. So the mutations also go in before
signing: what is behind the signature must hold against a gateway gone wrong.
"""

import struct
import tracemalloc
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import event, given
from hypothesis import strategies as st

from protocols.uplink import (
    MAX_BATCH_BYTES,
    Batch,
    Inspection,
    Receipt,
    cbor,
    cose,
    decode_record,
    fold,
    open_batch,
    open_receipt,
    senml,
    sign_receipt,
)
from protocols.uplink.batch_header import MAX_PACK_BYTES
from protocols.wire.errors import TOO_LONG, PeerError

from . import senml_reader
from .support import GATEWAY, KEY, PUBLIC, batch_of, cases, one_key, polls

RECORDS = polls(4, 3, failing=True)
BATCHES = [batch_of(RECORDS), batch_of(RECORDS, compress=True)]
RECEIPT = sign_receipt(Receipt(GATEWAY, 7, 12, bytes(range(32)), 1_765_432_103_000), KEY)
ALL_RECORDS = [
    bytes.fromhex(case["hex"])
    for file, group in (
        ("record", "profile"),
        ("record", "sample"),
        ("record", "events"),
        ("gap", "gap"),
    )
    for case in cases(file, group)
]


@st.composite
def mutated(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    """One of ``originals`` with up to four places changed, cut out, doubled or filled in."""
    data = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        length = draw(st.integers(1, 9))
        match draw(st.integers(0, 4)):
            case 0 if data:
                data[at] ^= 1 << draw(st.integers(0, 7))
            case 1 if data:
                data[at] = draw(st.integers(0, 255))
            case 2:
                del data[at : at + length]
            case 3:
                data[at:at] = data[at : at + length]
            case _:
                data[at:at] = draw(st.binary(max_size=9))
    return bytes(data)


def attempt(call: Callable[[], object]) -> object | None:
    """Return the result, or None for a PeerError with a text; anything else passes through."""
    try:
        result = call()
    except PeerError as error:
        event(f"code {error.code}")
        text = str(error)
    else:
        event("accepted")
        return result
    assert text
    return None


@given(mutated(BATCHES))
def test_batch_changed_after_signing(data: bytes) -> None:
    batch = attempt(lambda: open_batch(data, one_key()))
    assert batch is None or data in BATCHES


@given(mutated([RECEIPT]))
def test_receipt_changed_after_signing(data: bytes) -> None:
    receipt = attempt(lambda: open_receipt(data, PUBLIC))
    assert receipt is None or data == RECEIPT


@given(st.data(), st.sampled_from(BATCHES))
def test_batch_changed_before_signing(data: st.DataObject, original: bytes) -> None:
    message = cose.parse_sign1(original, MAX_BATCH_BYTES)
    protected, payload = message.protected_bytes, message.payload
    if data.draw(st.booleans()):
        protected = data.draw(mutated([protected]))
    else:
        payload = data.draw(mutated([payload]))
    signature = KEY.sign(cose.sig_structure(protected, payload))
    signed = cbor.encode([protected, {}, payload, signature])
    batch = attempt(lambda: open_batch(b"\xd2" + signed, one_key()))
    if isinstance(batch, Batch):
        attempt(batch.decode)


@given(mutated(ALL_RECORDS))
def test_record(data: bytes) -> None:
    record = attempt(lambda: decode_record(data))
    if record is not None:
        # What is accepted is canonical: no second encoding of the same record exists.
        assert b"".join(map(reencoded, maps_of(data))) == data


def maps_of(data: bytes) -> list[cbor.Item]:
    maps = []
    at = 0
    while at < len(data):
        item, at = cbor.read(data, at)
        maps.append(item)
    return maps


def reencoded(item: cbor.Item) -> bytes:
    if isinstance(item, cbor.Tagged):
        return b"\xc4" + reencoded(item.value)
    if isinstance(item, dict):
        entries = sorted((reencoded(key), reencoded(value)) for key, value in item.items())
        return bytes([0xA0 + len(entries)]) + b"".join(key + value for key, value in entries)
    if isinstance(item, list):
        return bytes([0x80 + len(item)]) + b"".join(map(reencoded, item))
    return cbor.encode(item)


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    attempt(lambda: open_batch(data, one_key()))
    attempt(lambda: open_receipt(data, PUBLIC))
    attempt(lambda: decode_record(data))
    attempt(lambda: senml_reader.decode_pack(data))
    attempt(lambda: senml_reader.decode_pack(data, strict=False))
    list(Inspection(one_key()).run(data))


PACKS = [bytes([0x80 + 4 + 12]) + b"".join(record.data for record in RECORDS)]
PACKS += [bytes.fromhex(case["cbor"]) for case in cases("senml", "resolve") if "cbor" in case]


@given(mutated(PACKS))
def test_pack(data: bytes) -> None:
    attempt(lambda: senml_reader.decode_pack(data))
    attempt(lambda: senml_reader.decode_pack(data, strict=False))


@given(st.lists(mutated(BATCHES), max_size=3))
def test_inspection_finds_words_for_everything(parts: list[bytes]) -> None:
    data = b"".join(parts)
    inspection = Inspection(one_key(), lambda uid, key_id: None)
    findings = [str(finding) for finding in inspection.run(data)]
    assert findings or all(part in BATCHES for part in parts)
    assert inspection.errors <= len(findings)


def signed(tf: list[object], payload: bytes) -> bytes:
    header: dict[int | str, object] = {3: senml.CONTENT_TYPE, 4: cose.key_id(PUBLIC), "tf": tf}
    return cose.sign1(header, payload, KEY)


def tf_of(lengths: list[int], compression: int) -> list[object]:
    anchor: list[object] = [bytes(16), 0, None, 0, 0]
    count = len(lengths)
    return [GATEWAY, 1, 7, 1, count, bytes(32), bytes(32), anchor, lengths, compression]


def bombs() -> list[tuple[str, bytes]]:
    zeros = zstandard.compress(bytes(64 * 1024 * 1024))
    endless = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(1 << 20))
    # Otherwise sound: the pack of one record as one stored block, but its frame header (RFC 8878
    # section 3.1.1.1) asks for a window of 2**27 bytes.
    record = RECORDS[0].data
    pack = b"\x84" + record
    frame = bytes.fromhex("28b52ffd8088") + struct.pack("<I", len(pack))
    frame += (len(pack) << 3 | 1).to_bytes(3, "little") + pack
    wide = tf_of([len(record)], 1)
    wide[5] = fold(bytes(32), [record])
    return [
        ("zstd of 64 MiB of zeros", signed(tf_of([100], 1), zeros)),
        ("zstd without a size", signed(tf_of([100], 1), endless)),
        ("zstd with a window of 128 MiB", signed(wide, frame)),
        ("lengths of 640 MB", signed(tf_of([65_536] * 10_000, 1), zeros)),
        ("10 001 records", signed(tf_of([1] * 10_001, 0), bytes(10_001))),
        ("a header of arrays", signed([[[]] * 20_000], b"")),
        ("1 MiB of tags", b"\xd2" * (1 << 20)),
        ("1 MiB of maps", b"\xd2\x84\x41\xa0" + b"\xb9\xff\xff" + b"\xa0" * (1 << 20)),
        ("2 MiB", bytes(2 << 20)),
    ]


@pytest.mark.parametrize(("name", "data"), bombs(), ids=[name for name, _ in bombs()])
def test_bombs_cost_little(name: str, data: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(PeerError):
            open_batch(data, one_key())
        # The largest honest batch may cost its pack; a refused one not even that.
        assert tracemalloc.get_traced_memory()[1] < MAX_PACK_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("filler", [b"\x80", b"\xa0", b"\x60", b"\x00"])
def test_a_record_of_the_largest_size_costs_little(filler: bytes) -> None:
    tracemalloc.start()
    try:
        for data in (filler * 65_536, b"\x99\xff\xf0" + filler * 65_520):
            with pytest.raises(PeerError):
                decode_record(data)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    with pytest.raises(PeerError) as caught:
        decode_record(filler * 65_537)
    assert caught.value.code == TOO_LONG
