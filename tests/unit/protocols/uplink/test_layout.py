"""Tables of fields: what a writer refuses, a reader refuses too, and both name the field."""

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.uplink import (
    Anchor,
    BatchHeader,
    Failure,
    FilePart,
    FormatError,
    Gap,
    NodeEvent,
    Receipt,
    Stamp,
)
from protocols.uplink.batch_header import ANCHOR, BATCH_HEADER
from protocols.uplink.checks import Bytes, Integer, Integers, Mismatch, OrNull, Text, Word
from protocols.uplink.layout import FormatField, Layout
from protocols.uplink.receipt import RECEIPT
from protocols.uplink.record_layout import EVENT, FAILURE, FILE_FIELDS, GAP_FIELDS, STAMP, is_stamp
from protocols.wire.errors import BAD_VALUE, TRUNCATED, UNKNOWN, LocalError, PeerError


class Pair(NamedTuple):
    """Two numbers, the first below the second."""

    low: int
    high: int | None


def _agrees(pair: Pair) -> Mismatch | None:
    if pair.high is not None and pair.high < pair.low:
        return Mismatch(f"{pair.low} or more", pair.high, field="high")
    return None


PAIR = Layout(
    Pair,
    FormatField("low", Integer(1, 9), "a number"),
    FormatField("high", OrNull(Integer(1, 99)), "another one"),
    agree=_agrees,
)


@pytest.mark.parametrize("pair", [Pair(1, 99), Pair(9, 9), Pair(3, None)])
def test_what_is_packed_is_unpacked(pair: Pair) -> None:
    items = [pair.low, pair.high]
    assert PAIR.pack(pair, "pair") == items
    assert PAIR.unpack([pair.low, pair.high], "pair", 0) == pair


@pytest.mark.parametrize(
    ("pair", "field", "expected", "got"),
    [
        (Pair(0, 5), "low", "1 to 9", 0),
        (Pair(1, 100), "high", "1 to 99", 100),
        (Pair(7, 5), "high", "7 or more", 5),
    ],
)
def test_both_ends_refuse_the_same(pair: Pair, field: str, expected: object, got: object) -> None:
    with pytest.raises(LocalError) as ours:
        PAIR.pack(pair, "pair")
    with pytest.raises(FormatError) as theirs:
        PAIR.unpack([pair.low, pair.high], "pair", 17)
    assert (ours.value.code, ours.value.message, ours.value.offset) == (BAD_VALUE, field, -1)
    assert (theirs.value.code, theirs.value.field, theirs.value.offset) == (BAD_VALUE, field, 17)
    assert (ours.value.expected, ours.value.got) == (expected, got)
    assert (theirs.value.expected, theirs.value.got) == (expected, got)


def test_a_structure_of_another_kind_is_named() -> None:
    with pytest.raises(FormatError) as caught:
        PAIR.unpack({}, "pair", 4)
    assert (caught.value.field, caught.value.expected, caught.value.got) == ("pair", "array", "map")
    with pytest.raises(FormatError) as caught:
        PAIR.unpack([1], "pair", 4)
    assert (caught.value.field, caught.value.expected, caught.value.got) == (
        "pair",
        "2 elements",
        1,
    )


@pytest.mark.parametrize(
    ("check", "value", "code", "expected", "got"),
    [
        (Integer(0, 9), True, BAD_VALUE, "integer", "boolean"),
        (Bytes(2), b"a", BAD_VALUE, "2 bytes", "1 bytes"),
        (Bytes(2, 4), "ab", BAD_VALUE, "bytes", "text"),
        (Text(3), "abcd", BAD_VALUE, "at most 3 characters", 4),
        (Text(3, "a word", str.isalpha), "1", BAD_VALUE, "a word", "'1'"),
        (Word(["crc"]), "x", UNKNOWN, "crc", "'x'"),
        (Word(["crc"]), 1, BAD_VALUE, "text", "integer"),
        (Integers(Integer(1, 9), 1, 3), [], BAD_VALUE, "1 to 3 elements", 0),
        (Integers(Integer(1, 9), 1, 3), [1, 10], BAD_VALUE, "1 to 9", 10),
        (Integers(Integer(1, 9), 1, 3), [1, True], BAD_VALUE, "integer", "boolean"),
    ],
)
def test_checks(
    check: Integer | Bytes | Text | Word | Integers,
    value: int | bytes | str | list[int],
    code: int,
    expected: object,
    got: object,
) -> None:
    with pytest.raises(FormatError) as theirs:
        check.unpack(value, "it", 3)  # type: ignore[arg-type]  # list[int] is one of Item's lists
    assert (theirs.value.code, theirs.value.offset) == (code, 3)
    assert (theirs.value.expected, theirs.value.got) == (expected, got)
    with pytest.raises(LocalError) as ours:
        check.pack(value, "it")
    assert (ours.value.code, ours.value.expected, ours.value.got) == (BAD_VALUE, expected, got)


def test_an_error_is_moved_and_placed_without_being_changed() -> None:
    error = FormatError(TRUNCATED, "kid", 5, "8 bytes", 3)
    moved = error.moved(100).within("record 7")
    assert (moved.code, moved.field, moved.offset) == (TRUNCATED, "kid", 105)
    assert str(moved) == "record 7: kid: expected 8 bytes, got 3 at byte 105"
    assert isinstance(moved, PeerError)
    assert (error.offset, error.message) == (5, "kid")
    assert FormatError(TRUNCATED, "kid").moved(100).offset == -1


@pytest.mark.parametrize(
    ("layout", "names"),
    [
        (ANCHOR, Anchor.__dataclass_fields__),
        (BATCH_HEADER, BatchHeader.__struct_fields__),
        (RECEIPT, Receipt.__dataclass_fields__),
        (GAP_FIELDS, Gap.__struct_fields__),
        (FILE_FIELDS, FilePart.__struct_fields__),
        (EVENT, NodeEvent._fields),
    ],
)
def test_a_table_has_the_fields_of_its_value(layout: Layout[object], names: object) -> None:
    assert [field.name for field in layout.fields] == list(names)  # type: ignore[call-overload]


_NUMBERS = st.sampled_from(
    [-1, 0, 1, 2**32 - 1, 2**32, 268_435_455_999, 268_435_456_000, 2**48 - 1, 2**48]
)


@given(_NUMBERS, _NUMBERS, st.none() | _NUMBERS, _NUMBERS, st.integers(-1, 4))
def test_the_quick_check_of_a_stamp_is_that_of_its_table(
    req_ms: int, resp_ms: int, wall_ms: int | None, unc_ms: int, clock_state: int
) -> None:
    stamp = Stamp(req_ms, resp_ms, wall_ms, unc_ms, clock_state)
    try:
        STAMP.pack(stamp, "stamp")
    except LocalError:
        assert not is_stamp(stamp)
    else:
        assert is_stamp(stamp)


def test_a_failed_point_is_named_with_its_suffix() -> None:
    assert FAILURE.unpack(["co2/q", "timeout"], "failed point", 0) == ("co2", "timeout")
    assert FAILURE.pack(Failure("co2", "timeout"), "failed point") == ["co2/q", "timeout"]
