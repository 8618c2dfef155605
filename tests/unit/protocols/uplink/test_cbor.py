"""The strict reader against cbor2: what it accepts is canonical and means the same."""

import math
from typing import Any

import cbor2
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from protocols.uplink import cbor
from protocols.wire.errors import BAD_ORDER, BAD_VALUE, TOO_LONG, PeerError

from .support import written_short

KEYS = st.one_of(st.integers(-300, 300), st.text(max_size=30))


LEAVES = st.one_of(
    st.integers(-(2**64), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False).filter(written_short),
    st.floats(allow_nan=False, allow_infinity=False, width=16).filter(written_short),
    st.floats(allow_nan=False, allow_infinity=False, width=32).filter(written_short),
    st.text(max_size=300),
    st.binary(max_size=300),
    st.booleans(),
    st.none(),
)
ITEMS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=30), st.dictionaries(KEYS, inner, max_size=30)
    ),
    max_leaves=40,
)


def depth(item: Any) -> int:
    if isinstance(item, dict):
        return 1 + max(map(depth, item.values()), default=0)
    return 1 + max(map(depth, item), default=0) if isinstance(item, list) else 0


def bytewise(item: Any) -> bool:
    """Whether cbor2's key order is the bytewise one in every map of ``item``."""
    inner = item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
    keys = [cbor2.dumps(key) for key in item] if isinstance(item, dict) else []
    shortest_first = sorted(keys, key=lambda key: (len(key), key))
    return shortest_first == sorted(keys) and all(map(bytewise, inner))


def same(a: Any, b: Any) -> bool:
    """Equal in type too: 1 is not 1.0 and not True."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float):
        return a == b and math.copysign(1, a) == math.copysign(1, b)
    return bool(a == b)


@given(ITEMS)
def test_reads_what_cbor2_writes(item: Any) -> None:
    data = cbor2.dumps(item, canonical=True)
    if depth(item) > cbor.MAX_DEPTH:
        with pytest.raises(PeerError) as caught:
            cbor.decode(data, len(data), "item")
        assert caught.value.code == TOO_LONG
        return
    # Bytewise order (RFC 8949) and cbor2's shortest-first (RFC 7049) differ for mixed keys.
    sorted_alike = bytewise(item)
    if not sorted_alike:
        with pytest.raises(PeerError) as caught:
            cbor.decode(data, len(data), "item")
        assert caught.value.code == BAD_ORDER
    assert same(cbor.decode(data, len(data), "item", strict=sorted_alike), cbor2.loads(data))


@given(st.binary(max_size=60))
def test_accepts_only_the_canonical_form(data: bytes) -> None:
    try:
        read = cbor.decode(data, 60, "item")
    except PeerError as error:
        event("refused")
        place = error.offset
    else:
        event("accepted")
        assert plain(read) == data
        place = 0
    assert 0 <= place <= len(data)


def plain(item: Any) -> bytes:
    """Encode again, keys in their order (already proven sorted)."""
    if isinstance(item, cbor.Tagged):
        return cbor2.dumps(cbor2.CBORTag(item.tag, 0))[:-1] + plain(item.value)
    if isinstance(item, dict):
        head = bytearray(cbor2.dumps(list(range(len(item)))))[: 1 if len(item) < 24 else 2]
        head[0] |= 0x20
        assert list(item) == sorted(item, key=cbor2.dumps)
        return bytes(head) + b"".join(plain(k) + plain(v) for k, v in item.items())
    if isinstance(item, list):
        head = bytearray(cbor2.dumps([0] * len(item)))[: 1 if len(item) < 24 else 2]
        return bytes(head) + b"".join(map(plain, item))
    return cbor2.dumps(item, canonical=True)


@given(st.integers(-(2**64), 2**64 - 1))
def test_integers(value: int) -> None:
    assert cbor.encode_int(value) == cbor2.dumps(value, canonical=True)


@pytest.mark.parametrize("value", [2**64, -(2**64) - 1])
def test_integers_beyond_64_bits(value: int) -> None:
    with pytest.raises(OverflowError):
        cbor.encode_int(value)


@given(
    st.one_of(
        *(
            st.floats(allow_nan=False, allow_infinity=False, width=width).filter(written_short)
            for width in (16, 32, 64)
        )
    )
)
def test_floats(value: float) -> None:
    assert cbor.encode_float(value) == cbor2.dumps(value, canonical=True)


@pytest.mark.parametrize(
    ("value", "encoded"),
    [(32768.0, "f97800"), (65504.0, "f97bff"), (-32768.0, "f9f800"), (65536.0, "fa47800000")],
)
def test_floats_at_the_upper_end_of_halves(value: float, encoded: str) -> None:
    assert cbor.encode_float(value).hex() == encoded
    assert cbor.read(bytes.fromhex(encoded)) == (value, len(encoded) // 2)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ("1817", 23),
        ("190017", 23),
        ("1b0000000000000017", 23),
        ("fb3ff0000000000000", 1.0),
        ("a20201 0100", {2: 1, 1: 0}),
        ("590001ff", b"\xff"),
    ],
)
def test_longer_forms_are_read_only_when_asked(data: str, value: Any) -> None:
    encoded = bytes.fromhex(data)
    assert same(cbor.decode(encoded, 100, "item", strict=False), value)
    with pytest.raises(PeerError) as caught:
        cbor.decode(encoded, 100, "item")
    assert caught.value.code in (BAD_VALUE, BAD_ORDER)


@pytest.mark.parametrize(
    "data", ["a20100 0100", "a2616101 616102", "9fff", "5f4100ff", "bfff", "ff"]
)
def test_never_read(data: str) -> None:
    for strict in (True, False):
        with pytest.raises(PeerError):
            cbor.decode(bytes.fromhex(data), 100, "item", strict=strict)
