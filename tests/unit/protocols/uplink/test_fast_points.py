"""The fast writer against cbor2's canonical encoder, for any device, values and times."""

import math
from decimal import Decimal
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.uplink import PROFILE, DecimalFraction, ProfileTemplate, Record, Stamp, decode_record
from protocols.wire.errors import BAD_VALUE, TOO_LONG, LocalError, PeerError

from .support import written_short

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9:./_-]{0,40}", fullmatch=True).filter(
    lambda name: name not in ("status", "event", "gap") and not name.endswith("/q")
)
UNITS = st.sampled_from(["", "Cel", "%RH", "ug/m3", "pH", "/100", "S/m"])
INTEGERS = st.one_of(
    st.integers(0, 65535),
    st.integers(-32768, -1),
    st.integers(-(2**64), 2**64 - 1),
    st.sampled_from([0, 23, 24, 255, 256, 65535, 65536, 2**32 - 1, 2**32, -24, -25, -(2**63)]),
)
QUALITIES = st.sampled_from(
    ["warm-up", "timeout", "checksum", "out-of-range", "not-fitted", "no-sample", "fault"]
)
VALUES = st.one_of(st.none(), INTEGERS, st.floats().filter(written_short), QUALITIES)
MILLISECONDS = st.one_of(
    st.integers(0, 2**20),
    st.integers(0, 2**47),
    st.sampled_from([65535, 65536, 2**32 - 1, 2**32]),
)
WALLS = st.one_of(
    st.none(),
    st.integers(2**28 * 1000, 2**48 - 1),
    st.sampled_from([2**28 * 1000, 2**31 * 1000, 1_765_432_192_000, 1_765_432_100_500]),
)


@st.composite
def stamps(draw: st.DrawFn) -> Stamp:
    wall = draw(WALLS)
    req = draw(MILLISECONDS)
    delta = draw(st.one_of(st.integers(0, 300), st.integers(0, 2**32 - 1)))
    return Stamp(req, req + delta, wall, draw(MILLISECONDS), draw(st.integers(1, 3)) if wall else 0)


def general(device: str, points: list[tuple[str, str, int]], raw: list[Any], stamp: Stamp) -> bytes:
    """The same record through cbor2, map by map."""
    head: dict[int | str, Any] = {0: "status", 2: 0, -2: device + "/"}
    if stamp.wall_ms is not None:
        head[-3] = stamp.wall_ms / 1000
    head["tf"] = [0, stamp.req_ms, stamp.resp_ms - stamp.req_ms, stamp.clock_state, stamp.unc_ms]
    maps = [head]
    for (name, unit, exp10), value in zip(points, raw, strict=True):
        if value is None:
            maps.append({0: name + "/q", 3: "timeout"})
        elif isinstance(value, str):
            maps.append({0: name + "/q", 3: value})
        elif isinstance(value, float) and not math.isfinite(value):
            maps.append({0: name + "/q", 3: "fault"})
        else:
            entry: dict[int | str, Any] = {0: name, 1: unit} if unit else {0: name}
            plain = isinstance(value, float) or exp10 == 0
            entry[2] = value if plain else cbor2.CBORTag(4, [exp10, value])
            maps.append(entry)
    return b"".join(cbor2.dumps(entry, canonical=True) for entry in maps)


@given(st.data(), st.lists(NAMES, max_size=12, unique=True), stamps())
def test_equals_the_general_encoder(data: st.DataObject, names: list[str], stamp: Stamp) -> None:
    points = [(name, data.draw(UNITS), data.draw(st.integers(-9, 9))) for name in names]
    kinds = data.draw(st.sampled_from([st.integers(0, 65535), VALUES]))
    raw = data.draw(st.lists(kinds, min_size=len(names), max_size=len(names)))
    record = ProfileTemplate("gw.dev-1", points).record(raw, stamp)
    assert record.data == general("gw.dev-1", points, raw, stamp)
    valid = [v for v in raw if isinstance(v, int) or (isinstance(v, float) and math.isfinite(v))]
    assert record == Record(record.data, len(valid), PROFILE, len(raw) + 1)

    read = decode_record(record.data)
    assert read == decode_record(record.data), "the second reading takes the shortcut"
    assert (read.device_id, read.kind, read.stamp) == ("gw.dev-1", PROFILE, stamp)
    assert (read.readings, read.maps) == (record.readings, record.maps)
    exponents = {name: exp10 for name, _, exp10 in points}
    kept = [(point, v) for point, v in zip(points, raw, strict=True) if v in valid]
    for value, ((name, unit, _), given_value) in zip(read.values, kept, strict=True):
        assert (value.name, value.unit) == (name, unit)
        if isinstance(given_value, float):
            assert value.value == given_value
        else:
            exact = Decimal(given_value).scaleb(exponents[name])
            assert value.value == (int(exact) if exponents[name] >= 0 else float(exact))


FRACTIONS = st.builds(DecimalFraction, INTEGERS, st.integers(-9, 9))
SOUND = st.one_of(
    st.integers(0, 65535),
    INTEGERS,
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.floats(width=16, allow_nan=False, allow_infinity=False),
    FRACTIONS,
)


@given(st.data(), st.lists(st.integers(-9, 9), min_size=1, max_size=8))
def test_polls_one_after_the_other_equal_the_general_encoder(
    data: st.DataObject, exponents: list[int]
) -> None:
    """Whatever one poll brought changes only how the next one is tried first."""
    points = [(f"p{index}", "V", exp10) for index, exp10 in enumerate(exponents)]
    template = ProfileTemplate("gw.dev", points)
    stamp = Stamp(1, 2, None, 0, 0)
    for _ in range(4):
        kinds = data.draw(st.sampled_from([st.integers(0, 65535), SOUND, st.one_of(SOUND, VALUES)]))
        raw = data.draw(st.lists(kinds, min_size=len(points), max_size=len(points)))
        own = [
            (*point[:2], value.exp10) if isinstance(value, DecimalFraction) else point
            for point, value in zip(points, raw, strict=True)
        ]
        plain = [value.raw if isinstance(value, DecimalFraction) else value for value in raw]
        assert template.record(raw, stamp).data == general("gw.dev", own, plain, stamp)


@pytest.mark.parametrize("exp10", [-10, 10])
def test_an_exponent_of_its_own_beyond_nine_is_refused(exp10: int) -> None:
    template = ProfileTemplate("gw.dev", [("a", "V", 0)])
    for _ in range(2):
        with pytest.raises(LocalError, match="exponent"):
            template.record([DecimalFraction(5, exp10)], Stamp(1, 2, None, 0, 0))


def test_a_template_is_not_changed_by_use() -> None:
    template = ProfileTemplate("gw.dev", [("a", "V", -1), ("b", "A", 0)])
    stamp = Stamp(1, 2, None, 0, 0)
    before = template.record([1, 2], stamp)
    template.record([None, 1.5], stamp)
    template.record(["out-of-range", "fault"], stamp)
    template.record([-1, 70_000], stamp)
    assert template.record([1, 2], stamp) == before


@pytest.mark.parametrize(
    ("device", "points"),
    [
        ("", [("a", "", 0)]),
        ("gw/dev", [("a", "", 0)]),
        ("x" * 65, [("a", "", 0)]),
        ("gw", [("a b", "", 0)]),
        ("gw", [("", "", 0)]),
        ("gw", [("status", "", 0)]),
        ("gw", [("a/q", "", 0)]),
        ("gw", [("a", "", 0), ("a", "V", 0)]),
        ("gw", [("a", "deg C", 0)]),
        ("gw", [("a", "V", 10)]),
        ("gw", [("x" * 65, "V", 1)]),
    ],
)
def test_what_the_format_cannot_carry(device: str, points: list[tuple[str, str, int]]) -> None:
    with pytest.raises(LocalError) as caught:
        ProfileTemplate(device, points)
    assert caught.value.code == BAD_VALUE


def test_each_failed_point_says_why() -> None:
    template = ProfileTemplate("gw.dev", [(name, "V", -1) for name in "abcd"])
    record = template.record(["out-of-range", 7, None, "fault"], Stamp(1, 2, None, 0, 0))
    assert record.readings == 1
    assert record.data.endswith(
        b"\xa2\x00\x63a/q\x03\x6cout-of-range"
        b"\xa3\x00\x61b\x01\x61V\x02\xc4\x82\x20\x07"
        b"\xa2\x00\x63c/q\x03\x67timeout"
        b"\xa2\x00\x63d/q\x03\x65fault"
    )


@pytest.mark.parametrize("word", ["ok", "", "broken", "OUT-OF-RANGE", "timeout "])
@pytest.mark.parametrize("other", [1, "fault", None])
def test_a_word_that_is_no_reason(word: str, other: int | str | None) -> None:
    template = ProfileTemplate("gw", [("a", "", 0), ("b", "", 0)])
    with pytest.raises(LocalError) as caught:
        template.record([other, word], Stamp(1, 2, None, 0, 0))
    assert (caught.value.code, caught.value.got) == (BAD_VALUE, word)
    assert "out-of-range" in str(caught.value.expected)


def test_the_longest_record_that_is_let_through_fits() -> None:
    """All points failed for the longest reason, in as many points as a template takes."""
    for count in range(600, 900):
        points = [(f"{index:04d}" + "x" * 60, "", 0) for index in range(count)]
        try:
            template = ProfileTemplate("gw", points)
        except LocalError:
            break
    stamp = Stamp(2**33, 2**33 + 5, 2**48 - 1, 2**33, 3)
    record = template.record(["out-of-range"] * (count - 1), stamp)
    assert 65536 - 200 < len(record.data) <= 65536


def test_too_many_points() -> None:
    points = [(f"{index:04d}" + "x" * 60, "", 0) for index in range(900)]
    with pytest.raises(LocalError) as caught:
        ProfileTemplate("gw", points)
    assert caught.value.code == TOO_LONG


@pytest.mark.parametrize(
    ("raw", "stamp"),
    [
        ([1], Stamp(1, 2, None, 0, 0)),
        ([1, 2, 3], Stamp(1, 2, None, 0, 0)),
        ([1, 2**64], Stamp(1, 2, None, 0, 0)),
        ([1, 2], Stamp(2, 1, None, 0, 0)),
        ([1, 2], Stamp(1, 2, None, 0, 3)),
        ([1, 2], Stamp(1, 2, 1_765_432_100_000, 0, 0)),
        ([1, 2], Stamp(1, 2, 1_000, 0, 3)),
        ([1, 2], Stamp(1, 2, None, -1, 0)),
        ([1, 2], Stamp(1, 2, None, 0, 4)),
    ],
)
def test_wrong_values_and_stamps(raw: list[int], stamp: Stamp) -> None:
    template = ProfileTemplate("gw", [("a", "", 0), ("b", "", 0)])
    with pytest.raises(LocalError) as caught:
        template.record(raw, stamp)
    assert caught.value.code == BAD_VALUE


@pytest.mark.parametrize("value", ["1817", "190017", "1900ff", "3817", "390017", "3900ff"])
@pytest.mark.parametrize("prefix", ["", "c48220"])
def test_the_shortcut_refuses_what_the_long_way_refuses(value: str, prefix: str) -> None:
    known = ProfileTemplate("gw", [("a", "V", -1)]).record([500], Stamp(1, 2, None, 0, 0)).data
    assert decode_record(known).values == decode_record(known).values == (("a", "V", 50.0),)
    data = known[: known.index(b"\xc4")] + bytes.fromhex(prefix + value)
    with pytest.raises(PeerError) as caught:
        decode_record(data)
    assert caught.value.expected == "its shortest form"
