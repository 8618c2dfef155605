"""Frames that other implementations sent are read, and written again byte for byte."""

from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import pytest

from protocols.uplink.errors import BAD_CHECKSUM, FormatError
from protocols.uplink.sl651 import (
    Sl651Frame,
    Sl651Reader,
    element_value,
    encode_frame,
    read_report,
    write_report,
)
from protocols.uplink.sl651.elements import ElementGroup, number_group, write_group
from protocols.wire.errors import BAD_VALUE, TRUNCATED, LocalError
from tests.paths import ROOT

VECTORS = ROOT / "protocols" / "vectors" / "sl651.tsv"
#: Functions whose body is a report (section 6.6).
REPORTS = {0x30, 0x31, 0x32, 0x33, 0x34, 0x37, 0x38, 0x3A}


class Case(NamedTuple):
    """One line of the file: verdict, function, and the bytes as they were sent."""

    verdict: str
    function: int
    data: bytes


def read_cases(path: Path = VECTORS) -> list[Case]:
    """Return the lines of the file behind its heading."""
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()[1:]]
    return [Case(verdict, int(code, 16), bytes.fromhex(data)) for verdict, _, code, data in rows]


CASES = read_cases()
GOOD = [case for case in CASES if case.verdict.startswith("ok")]
BAD = [case for case in CASES if not case.verdict.startswith("ok")]


def frames_of(data: bytes) -> list[Sl651Frame]:
    """Return all frames in ``data``, fed at once; an error ends the test."""
    reader = Sl651Reader()
    reader.feed(data)
    return list(iter(reader.next_frame, None))


def test_there_are_as_many_cases_as_were_collected() -> None:
    assert (len(GOOD), len(BAD)) == (67, 5)
    assert sum(case.function in REPORTS for case in GOOD) == 28


@pytest.mark.parametrize("case", GOOD, ids=lambda case: f"{case.function:02X}")
def test_a_good_frame_is_written_again_byte_for_byte(case: Case) -> None:
    (frame,) = frames_of(case.data)
    assert frame.function == case.function
    stray = b"\x7e" if case.verdict == "ok+tail_7e" else b""
    assert encode_frame(frame) + stray == case.data
    if case.function in REPORTS:
        report = read_report(frame.body, is_series=case.function == 0x31)
        assert write_report(report) == frame.body


@pytest.mark.parametrize("case", BAD, ids=lambda case: f"{case.function:02X}")
def test_a_bad_frame_fails_for_its_reason(case: Case) -> None:
    reader = Sl651Reader()
    reader.feed(case.data)
    length = int.from_bytes(case.data[11:13]) & 0xFFF
    if len(case.data) < 17 + length:  # the CRC is missing: only silence shows it
        assert reader.next_frame() is None
        error = reader.silence()
        assert error is not None
        assert error.code == TRUNCATED
    else:
        with pytest.raises(FormatError, match=r"CRC: expected [0-9A-F]{4}, got") as caught:
            reader.next_frame()
        assert caught.value.code == BAD_CHECKSUM


def test_all_frames_stand_one_behind_the_other_and_come_byte_by_byte() -> None:
    data = b"".join(case.data for case in GOOD)
    expected = [case.function for case in GOOD]
    assert [frame.function for frame in frames_of(data)] == expected
    reader = Sl651Reader()
    functions = []
    for at in range(len(data)):
        reader.feed(data[at : at + 1])
        functions += [frame.function for frame in iter(reader.next_frame, None)]
    assert functions == expected
    assert reader.noise_bytes == 0, "one 7E behind a frame is no noise"


def test_a_good_frame_is_found_behind_noise_and_behind_a_bad_one() -> None:
    good = GOOD[0].data
    reader = Sl651Reader()
    reader.feed(b"\x00\x7e\x01" + BAD[0].data + good)
    found, refused = [], 0
    for _ in range(9):
        try:
            frame = reader.next_frame()
        except FormatError:
            refused += 1
            continue
        if frame is None:
            break
        found.append(frame)
    assert [encode_frame(frame) for frame in found] == [good]
    assert refused == 1
    assert reader.noise_bytes == 3 + len(BAD[0].data)


def test_a_frame_down_has_the_station_first() -> None:
    # Confirmation of the periodic report 32 (SL 651-2014, appendix; also in the reference frames).
    data = bytes.fromhex("7E7E00112233440503E83280080200341707181100161BE5D4")
    (frame,) = frames_of(data)
    assert (frame.is_down, frame.station.hex(), frame.centre) == (True, "0011223344", 5)
    assert (frame.password.hex(), frame.function, frame.end) == ("03e8", 0x32, 0x1B)
    assert encode_frame(frame) == data


def test_a_picture_comes_in_packets() -> None:
    packets = [frames_of(case.data)[0] for case in GOOD if case.function == 0x36]
    assert [(frame.number, frame.total) for frame in packets] == [(n, 13) for n in range(1, 14)]
    body = b"".join(frame.body for frame in packets)
    picture = body[body.index(b"\xf3\xf3") + 2 :]
    assert picture.startswith(b"\xff\xd8")
    assert b"\xff\xd9" in picture[-5:], "the end of a JPEG, and what that station fills up with"


def test_values_are_what_the_station_measured() -> None:
    # Each computed by hand from the bytes: 39 23 00000127, 38 12 1115, 76 2A FF00000172.
    (report_30,) = frames_of(next(case.data for case in GOOD if case.function == 0x30))
    report = read_report(report_30.body)
    values = {g.identifier: element_value(g) for g in report.observations[0].groups}
    assert values == {
        0x20: Decimal("0.5"),
        0x26: Decimal("0.5"),
        0x39: Decimal("0.127"),
        0x38: Decimal("11.15"),
    }
    assert report.sent.isoformat() == "2059-10-11T15:49:47+08:00"
    assert report.station_class == "H"
    assert element_value(ElementGroup(0x76, 0x2A, bytes.fromhex("FF00000172"))) == Decimal("-1.72")
    assert element_value(ElementGroup(0x39, 0x23, b"\xff" * 4)) is None
    assert element_value(ElementGroup(0x45, 0x20, bytes(4))) == bytes(4)
    assert element_value(ElementGroup(0xF5, 0x5C, bytes.fromhex("0AAA") + b"\xff" * 22)) == (
        Decimal("27.30"),
        *[None] * 11,
    )


@pytest.mark.parametrize(
    ("identifier", "value", "data"),
    [
        (0x39, "0.127", "392300000127"),
        (0x39, "-1.5", "392BFF00001500"),
        (0x20, "0.5", "2019000005"),
        (0x38, "12.345", "38121234"),  # half to even
        (0x02, "-7.35", "0219FF0074"),
    ],
)
def test_a_number_is_written_in_the_digits_of_its_element(
    identifier: int, value: str, data: str
) -> None:
    assert write_group(number_group(identifier, Decimal(value))).hex().upper() == data


def test_a_missing_number_is_all_f() -> None:
    assert write_group(number_group(0x39, None)).hex().upper() == "3923FFFFFFFF"


def test_a_number_with_too_many_digits_is_refused() -> None:
    with pytest.raises(LocalError, match="supply: expected 4 digits, 2 of them decimals, got 100"):
        number_group(0x38, Decimal(100))
    with pytest.raises(LocalError, match="one of a number"):
        number_group(0xF4, Decimal(1))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ((11, 0x40), "direction"),
        ((13, 0x05), "start"),
    ],
)
def test_a_header_that_breaks_a_rule_is_refused_at_once(
    change: tuple[int, int], field: str
) -> None:
    data = bytearray(GOOD[0].data[:14])
    data[change[0]] = change[1]
    reader = Sl651Reader()
    reader.feed(bytes(data))
    with pytest.raises(FormatError) as caught:
        reader.next_frame()
    assert (caught.value.field, caught.value.code, caught.value.offset) == (
        field,
        BAD_VALUE,
        change[0],
    )
