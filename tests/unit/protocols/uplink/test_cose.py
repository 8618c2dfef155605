"""COSE_Sign1: structure, headers and algorithms (RFC 9052 sections 3 and 4)."""

from typing import Any

import cbor2
import pytest

from protocols.uplink import cose
from protocols.wire.errors import (
    BAD_TAG,
    BAD_VALUE,
    TOO_LONG,
    TRUNCATED,
    UNKNOWN,
    LocalError,
    PeerError,
)

from .support import KEY, PUBLIC

MAX = 100


def message(
    protected: Any, unprotected: Any = None, payload: Any = b"x", signature: Any = bytes(64)
) -> bytes:
    body = [cbor2.dumps(protected, canonical=True), unprotected or {}, payload, signature]
    return cbor2.dumps(cbor2.CBORTag(18, body), canonical=True)


def test_round_trip() -> None:
    data = cose.sign1({3: "text/plain", "own": [1]}, b"payload", KEY)
    parsed = cose.parse_sign1(data, MAX)
    assert parsed.protected == {1: -19, 3: "text/plain", "own": [1]}
    assert parsed.payload == b"payload"
    for begin, part in (
        (parsed.protected_at, parsed.protected_bytes),
        (parsed.payload_at, parsed.payload),
        (parsed.signature_at, parsed.signature),
    ):
        assert data[begin : begin + len(part)] == part
    cose.verify1(parsed, PUBLIC)
    with pytest.raises(PeerError) as caught:
        cose.verify1(parsed, PUBLIC, external_aad=b"other")
    assert (caught.value.code, caught.value.offset) == (BAD_TAG, parsed.signature_at)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (message({1: -19}, signature=bytes(63)), BAD_VALUE),
        (message({1: -19}, signature=bytes(65)), TOO_LONG),
        (message({1: -19}, payload=None), BAD_VALUE),
        (message({1: -19}, payload="x"), BAD_VALUE),
        (message({1: -19}, payload=bytes(101)), TOO_LONG),
        (message({1: -19}, {1: -19}), BAD_VALUE),
        (message({1: -19}, {4: b"kid", 2: [4]}), BAD_VALUE),
        (message([1]), BAD_VALUE),
        (message({1: -19, 2: 1}), BAD_VALUE),
        (message({1: -19, 2: [b"x"]}), BAD_VALUE),
        (message({1: -19, 2: list(range(17))}), BAD_VALUE),
        (message({1: -19, 2: ["new"], "new": 1}), UNKNOWN),
        (message({1: -19, 2: [33], 33: b""}), UNKNOWN),
        (message({1: -19, "x": bytes(70_000)}), TOO_LONG),
        (message({1: -19}, {4: bytes(5_000)}), TRUNCATED),
        (b"\xd2\x83" + message({1: -19})[2:], BAD_VALUE),
        (b"\xd2\x85" + message({1: -19})[2:], BAD_VALUE),
        (b"\xd2", TRUNCATED),
        (b"", TRUNCATED),
    ],
)
def test_structure_is_refused(data: bytes, code: int) -> None:
    with pytest.raises(PeerError) as caught:
        cose.parse_sign1(data, MAX)
    assert caught.value.code == code, str(caught.value)


def test_critical_headers_that_are_understood() -> None:
    data = message({1: -19, 2: [1, 3, 4, "own"], 3: "t", 4: b"k", "own": 1})
    assert cose.parse_sign1(data, MAX, understood=("own",)).protected["own"] == 1
    with pytest.raises(PeerError) as caught:
        cose.parse_sign1(data, MAX)
    assert (caught.value.code, caught.value.got) == (UNKNOWN, "own")


@pytest.mark.parametrize("alg", [None, -7, -9, -53, "Ed25519", True])
def test_other_algorithms_are_refused_even_with_a_right_signature(alg: object) -> None:
    header = cbor2.dumps({} if alg is None else {1: alg}, canonical=True)
    signature = KEY.sign(cose.sig_structure(header, b"x"))
    parsed = cose.parse_sign1(cbor2.dumps(cbor2.CBORTag(18, [header, {}, b"x", signature])), MAX)
    with pytest.raises(PeerError) as caught:
        cose.verify1(parsed, PUBLIC)
    assert caught.value.code == UNKNOWN


def test_an_offset_within_the_protected_header_is_the_messages() -> None:
    data = cbor2.dumps(cbor2.CBORTag(18, [b"\xa2\x01\x32\x01\x32", {}, b"", bytes(64)]))
    with pytest.raises(PeerError) as caught:
        cose.parse_sign1(data, MAX)
    assert (caught.value.code, caught.value.offset) == (BAD_VALUE, 3 + 3)


def test_longer_forms_are_read_when_asked() -> None:
    tagged = b"\xd8\x12" + message({1: -19})[1:]
    assert cose.parse_sign1(tagged, MAX, strict=False).payload == b"x"
    with pytest.raises(PeerError):
        cose.parse_sign1(tagged, MAX)


def test_what_cannot_be_signed() -> None:
    for label, value, code in ((1, -8, BAD_VALUE), (5, bytes(70_000), TOO_LONG)):
        with pytest.raises(LocalError) as caught:
            cose.sign1({label: value}, b"", KEY)
        assert caught.value.code == code
