"""Unique ids, as a node reads them from what it was commissioned with."""

from protocols.wire.uid import UID_BYTES, parse_uid


def test_a_unique_id_is_24_hex_digits_of_either_case() -> None:
    expected = b"\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\xff"
    assert len(expected) == UID_BYTES
    assert parse_uid("0102030405060708090a0bff") == expected
    assert parse_uid("0102030405060708090A0BFF") == expected


def test_anything_else_is_none() -> None:
    digits = "0102030405060708090a0b0c"
    for text in ("", "01", digits[:-1], digits + "0", digits[:-1] + "g", digits[:-1] + " "):
        assert parse_uid(text) is None, text
    for value in (None, 12, digits.encode(), [digits]):
        assert parse_uid(value) is None, value
