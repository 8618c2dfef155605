"""What is read by a known shape is what the general way reads, or it is left to the general way."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.identity import MAX_IDENTIFIER_LENGTH
from protocols.uplink import (
    CLOCK_SYNCHRONISED,
    DecimalFraction,
    Decoded,
    ProfileTemplate,
    Stamp,
    decode_record,
    record_shape,
    sample_record,
)
from protocols.uplink.errors import FormatError
from protocols.wire import sample
from protocols.wire.hmac import HmacSha256
from protocols.wire.registers import AIR

from .test_fast_points import stamps

UID = bytes(range(12))
STAMP = Stamp(3_600_000, 3_600_030, 1_764_000_000_123, 20, CLOCK_SYNCHRONISED)
POINTS = [("a", "Cel", -1), ("b", "", 0), ("c", "V", 2), ("d", "%RH", -3)]
NUMBERS = st.one_of(
    st.integers(0, 70_000),
    st.sampled_from([0, 23, 24, 255, 256, 65535, 65536, 2**32 - 1, 2**32, -1, -24, -25, -300]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.builds(DecimalFraction, st.integers(0, 999), st.integers(-2, 2)),
    st.sampled_from(["timeout", "fault"]),
)


def of_a_device(raw: list[int | float | DecimalFraction | str], stamp: Stamp = STAMP) -> bytes:
    return ProfileTemplate("gw.dev", POINTS).record(raw, stamp).data


def of_a_node(raw: list[int], seq: int, stamp: Stamp = STAMP, status: int = 0) -> bytes:
    frame = bytearray(2 * AIR.words)
    sample.pack_header(frame, AIR.map_id, AIR.version, 3, seq, 5000 * seq, status, 1)
    sample.pack_values(AIR, frame, [0] * len(raw), raw)
    sample.seal(frame, 1, HmacSha256(bytes(32)), UID)
    return sample_record(f"tf-{UID.hex()}", sample.decode(frame), bytes(frame), stamp).data


def outcome(data: bytes) -> Decoded | tuple[int, str, int]:
    """What the reader makes of ``data``: a record, or what is wrong and where."""
    try:
        return decode_record(data)
    except FormatError as error:
        return error.code, error.field, error.offset


def check_both_ways(learned: bytes, data: bytes) -> bool:
    """Compare the reader that knows a shape with one that knows none; return what it knew."""
    record_shape.forget()
    for _ in range(2):
        decode_record(learned)
    is_known = record_shape.read_known(data) is not None
    with_shape = outcome(data)
    record_shape.forget()
    assert with_shape == outcome(data)
    return is_known


@given(
    st.lists(NUMBERS, min_size=4, max_size=4), st.lists(NUMBERS, min_size=4, max_size=4), stamps()
)
def test_any_two_polls_of_a_device(
    before: list[int | float | DecimalFraction | str],
    now: list[int | float | DecimalFraction | str],
    stamp: Stamp,
) -> None:
    check_both_ways(of_a_device(before), of_a_device(now, stamp))


@given(st.binary(min_size=0, max_size=4), st.integers(0, 10_000), st.integers(0, 4), st.booleans())
def test_any_damage_to_a_record_of_a_known_shape(
    junk: bytes, at: int, gone: int, is_node: bool
) -> None:
    good = (
        of_a_node([12, 18, 20, 2100, 608, 512, 4400], 7) if is_node else of_a_device([1, 2, 3, 4])
    )
    at %= len(good) + 1
    check_both_ways(good, good[:at] + junk + good[at + gone :])


@pytest.mark.parametrize("is_node", [True, False])
def test_every_flip_of_a_bit(is_node: bool) -> None:
    good = (
        of_a_node([12, 18, 20, 2100, 608, 512, 4400], 7)
        if is_node
        else of_a_device([300, 24, 1.5, DecimalFraction(5, -1)])
    )
    known = 0
    for bit in range(8 * len(good)):
        flipped = bytearray(good)
        flipped[bit // 8] ^= 1 << bit % 8
        known += check_both_ways(good, bytes(flipped))
    assert known > 20, "another number is read by the shape"


def test_polls_that_differ_in_their_numbers_take_the_short_way() -> None:
    rng = random.Random(7)
    record_shape.forget()
    for _ in range(2):
        decode_record(of_a_device([300, 40, 500, 600]))
        decode_record(of_a_node([12, 18, 20, 2100, 608, 512, 4400], 1))
    for seq in range(2, 50):
        stamp = Stamp(seq * 5000, seq * 5000 + seq, STAMP.wall_ms, seq, CLOCK_SYNCHRONISED)
        raw: list[int | float | DecimalFraction | str] = [rng.randrange(70_000) for _ in POINTS]
        air = [12, 18, seq, 2100, 608, 512, 4400]
        for data in (of_a_device(raw, stamp), of_a_node(air, seq, stamp, status=seq % 2)):
            record = record_shape.read_known(data)
            assert record is not None
            assert record.stamp == stamp
            assert record == decode_record(data)


def test_a_name_of_any_length_takes_the_short_way() -> None:
    record_shape.forget()
    for length in range(1, MAX_IDENTIFIER_LENGTH + 1):
        template = ProfileTemplate("g" * length, POINTS)
        data = template.record([300, 40, 500, 600], STAMP).data
        for _ in range(2):
            decode_record(data)
        record = record_shape.read_known(data)
        assert record is not None, length
        assert record.device_id == "g" * length


def test_a_point_that_fails_now_and_then_makes_two_shapes() -> None:
    record_shape.forget()
    good, failed = of_a_device([300, 40, 500, 600]), of_a_device([300, "timeout", 500, 600])
    for data in (good, failed, good, failed):
        decode_record(data)
    for data in (good, failed, good, failed):
        record = record_shape.read_known(data)
        assert record is not None
        assert len(record.failures) == (data is failed)


def test_a_device_that_sends_what_others_send_takes_the_short_way_at_once() -> None:
    record_shape.forget()
    for _ in range(2):
        decode_record(of_a_device([300, 40, 500, 600]))
    new = ProfileTemplate("gw.new", POINTS)
    decode_record(new.record([300, 40, 500, 70_000], STAMP).data)
    data = new.record([1, 2, 3, 4], STAMP).data
    record = record_shape.read_known(data)
    assert record is not None
    assert record.device_id == "gw.new"
    other = ProfileTemplate("gw.other", POINTS[:3])
    decode_record(other.record([300, 40, 500], STAMP).data)
    assert record_shape.read_known(other.record([1, 2, 3], STAMP).data) is None
    record_shape.forget()
    assert record == decode_record(data)


def test_some_devices_more_than_are_remembered_cost_little() -> None:
    record_shape.forget()
    devices = [
        ProfileTemplate(f"gw.d{number}", [("a", "", 0)]).record([number % 7], STAMP).data
        for number in range(record_shape._MAX_DEVICES * 11 // 10)
    ]
    known = 0
    for turn in range(3):
        for data in devices:
            known += turn == 2 and record_shape.read_known(data) is not None
            decode_record(data)
    assert known >= len(devices) // 3


def test_what_is_learned_is_bounded() -> None:
    record_shape.forget()
    for number in range(record_shape._MAX_DEVICES + 10):
        template = ProfileTemplate(f"gw.d{number}", [("a", "", 0)])
        decode_record(template.record([number % 7], STAMP).data)
    assert len(record_shape._devices) <= record_shape._MAX_DEVICES
    for failed in [*range(16)] * 2:
        raw = [100 if failed >> index & 1 else "fault" for index in range(4)]
        decode_record(of_a_device([*raw[:3], 9]))
    assert all(len(device.shapes) <= 4 for device in record_shape._devices.values())
