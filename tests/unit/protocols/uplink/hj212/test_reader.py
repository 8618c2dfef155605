"""The reader finds frames in whatever TCP makes of them, and holds little while it waits."""

from random import Random

import pytest

from protocols.uplink.hj212 import (
    MAX_READ_SEGMENT,
    AcceptedFrame,
    Hj212Reader,
    RejectedFrame,
    parse_body,
)
from protocols.uplink.hj212.checksum import hj_checksum

from .vectors import frames

GOOD = [row["frame"].encode() for row in frames("ok/hj")]


def framed(segment: bytes) -> bytes:
    """Return a frame whose LEN and checksum are right, whatever the segment is."""
    return b"##%04d%b%04X" % (len(segment), segment, hj_checksum(segment))


def read(data: bytes, size: int = 10_000) -> list[AcceptedFrame | RejectedFrame]:
    """Return what a reader finds in pieces of ``size`` bytes, and then in the silence."""
    reader = Hj212Reader()
    found = []
    for at in range(0, len(data), size):
        found += reader.feed(data[at : at + size])
        assert reader.held <= 2 * MAX_READ_SEGMENT + 10
    found += reader.silence()
    assert reader.held == 0
    return found


@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"", b"\r\n\r\n", b" \r\n"])
@pytest.mark.parametrize("size", [1, 3, 64, 100_000])
def test_every_line_end_and_every_cut(end: bytes, size: int) -> None:
    some = GOOD[::6] if size < 64 else GOOD
    found = read(b"".join(frame + end for frame in some), size)
    assert [item.raw for item in found if isinstance(item, AcceptedFrame)] == some
    assert len(found) == len(some)


def test_noise_between_frames_loses_none() -> None:
    random = Random(20170501)
    parts = []
    for frame in GOOD:
        noise = bytes(random.choice(b"&=;Q0aF\xff\x00#") for _ in range(random.randrange(30)))
        while noise.endswith(b"#"):
            noise = noise[:-1]
        parts += [noise.replace(b"##", b"#-"), frame]
    for size in (1, 50, 100_000):
        found = read(b"".join(parts), size)
        assert [item.raw for item in found if isinstance(item, AcceptedFrame)] == GOOD
        assert any(isinstance(item, RejectedFrame) for item in found)


@pytest.mark.parametrize("cut", [3, 6, 7, 40, 84])
def test_a_frame_that_lost_its_end_costs_only_itself(cut: int) -> None:
    found = read(GOOD[0][:cut] + b"".join(GOOD[1:5]))
    assert [item.raw for item in found if isinstance(item, AcceptedFrame)] == GOOD[1:5]


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (b"##299ST=22;CP=&&&&1234", "LEN"),
        (b"##+100" + b"x" * 120, "LEN"),
        (b"##9999" + b"x" * 20, "segment"),
        (GOOD[0].replace(b"##0107", b"##0106"), "LEN"),
        (GOOD[0].replace(b"OverTime=5", b"OverTime=6"), "CRC"),
        (GOOD[0][:-4] + b"CAG1", "LEN"),
        (b"noise without a frame", "frame"),
        (framed(b"QN=1;ST=22;CN=2011;MN=A;CQ=&&&&"), "header"),
        (framed(b"ST=22;CN=2011;CP=&&&&"), "header"),
        (framed(b"ST=22;ST=22;CN=2011;MN=A;CP=&&&&"), "header"),
        (framed(b"ST=22;CN=twenty;MN=A;CP=&&&&"), "CN"),
        (framed(b"ST=22;CN=2011;MN=A;Flag=256;CP=&&&&"), "Flag"),
        (framed(b"ST=22;CN=2011;MN=A;Flag=7;PNUM=0;PNO=1;CP=&&&&"), "PNUM"),
        (framed(b"ST=22;CN=2011;MN=A;RF=0;CP=&&&&"), "RF"),
        (framed(b"ST=22;CN=2011;MN=A;CP=&&no pair&&"), "CP"),
        (framed(b"ST=22;CN=2011;MN=A;CP=&&a=1,&&"), "CP"),
        (framed(b"ST=22;CN=2011;MN=A;CP=&&a=\xff\xff&&"), "text"),
    ],
)
def test_what_is_wrong_is_named_by_its_rule(data: bytes, field: str) -> None:
    first, *rest = read(data + GOOD[1])
    assert isinstance(first, RejectedFrame)
    assert first.error.field == field
    assert isinstance(rest[-1], AcceptedFrame)
    assert rest[-1].raw == GOOD[1]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a=//x;y,z//;b=1", [("a", "//x;y,z//"), ("b", "1")]),
        ("a=//x//y//;b=//z//", [("a", "//x//y//"), ("b", "//z//")]),
        ("a=//x;b=//y", [("a", "//x"), ("b", "//y")]),
        ("a=//;b=//", [("a", "//;b=//")]),
        ("a=//", [("a", "//")]),
        ("a=///;b=1", [("a", "///"), ("b", "1")]),
        ("a=////;b=//", [("a", "////"), ("b", "//")]),
        ("a=x//;b=y//,c=1", [("a", "x//"), ("b", "y//"), ("c", "1")]),
    ],
)
def test_free_text(text: str, values: list[tuple[str, str]]) -> None:
    assert [pair for item in parse_body(text) for pair in item] == values


def test_free_text_without_an_end_costs_what_its_length_costs() -> None:
    body = "a=//x;" * 100_000  # minutes, if each start were looked for behind all others
    assert len(parse_body(body)) == 100_000


def test_a_flood_without_frames_stays_small() -> None:
    random = Random(7)
    reader = Hj212Reader()
    flood = b"##4096" + random.randbytes(20_000) + b"##" * 5_000 + b"##0400" * 3_000
    for at in range(0, len(flood), 777):
        for item in reader.feed(flood[at : at + 777]):
            assert isinstance(item, RejectedFrame)
            assert len(item.raw) <= 160
        assert reader.held <= MAX_READ_SEGMENT + 10
    assert len(str(reader.feed(b"\x1b[2J##xxxx")[-1])) < 2_000
