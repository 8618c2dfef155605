"""HMAC-SHA256 against RFC 4231."""

from protocols.wire.hmac import HmacSha256, equal
from tests.dual import vectors


def test_vectors() -> None:
    for case in vectors("sample")["hmac"]:
        mac = HmacSha256(bytes.fromhex(case["key"]))
        data = bytes.fromhex(case["data"])
        digest = bytes.fromhex(case["digest"])
        for shape in (data, bytearray(data), memoryview(data)):
            assert mac.digest(shape) == digest, case["name"]
        for cut in (0, 1, len(data) // 2, len(data)):
            assert mac.digest(data[:cut], data[cut:]) == digest, case["name"]


def test_one_key_serves_many_messages() -> None:
    mac = HmacSha256(b"Jefe")
    first = mac.digest(b"one")
    assert mac.digest(b"two") != first
    assert mac.digest(b"one") == first


def test_equal_compares_every_byte() -> None:
    tag = bytes(range(16))
    assert equal(tag, bytearray(tag))
    assert equal(memoryview(tag), tag)
    assert equal(b"", b"")
    for index in range(16):
        other = bytearray(tag)
        other[index] ^= 0x80
        assert not equal(tag, other)
    assert not equal(tag, tag[:15])
    assert not equal(tag[:15], tag)
    assert not equal(tag, b"")
