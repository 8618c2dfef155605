"""Readers of stations' protocols under a flood of starts: the work for a byte has a bound.

The measure is the interpreter's: how many lines of Python the reader runs for each byte fed, whole
or in pieces. A checksum over a byte is two lines at least, so frames checked again for each start
inside them would show as hundreds.
"""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from protocols.uplink.errors import FormatError
from protocols.uplink.hj212 import AcceptedFrame, Hj212Reader
from protocols.uplink.sl427 import Sl427Reader
from protocols.uplink.sl651 import Sl651Reader

MOST_LINES = 30  # for a byte
FED = 12_000

Read = Callable[[bytes], list[object]]


def framed(reader: Sl427Reader | Sl651Reader) -> Read:
    """Return what reads all frames and refusals of a piece."""

    def read(data: bytes) -> list[object]:
        reader.feed(data)
        found: list[object] = []
        while True:
            try:
                frame = reader.next_frame()
            except FormatError as error:
                found.append(error)
                continue
            if frame is None:
                return found
            found.append(frame)

    return read


def sl427() -> Read:
    return framed(Sl427Reader())


def sl651() -> Read:
    return framed(Sl651Reader())


def hj212() -> Read:
    reader = Hj212Reader()
    return lambda data: [
        one.message if isinstance(one, AcceptedFrame) else one.error for one in reader.feed(data)
    ]


# Frames that were seen (see the tests of each reader).
GOOD_427 = bytes.fromhex("681A68B35303810D00C00059000000826110000001106000004508090A3516")
GOOD_651 = bytes.fromhex("7E7E00112233440503E83280080200341707181100161BE5D4")
# The checksum of this one is a vector too (hj212.json).
GOOD_212 = (
    b"##0101QN=20160801085857223;ST=32;CN=1062;PW=100000;MN=010000A8900016F000169DC0;"
    b"Flag=5;CP=&&RtdInterval=30&&1C80\r\n"
)

FLOODS = {
    "starts of SL 427": (sl427, b"\x68", GOOD_427),
    # Starts one behind the other, and an end where each of their frames would end.
    "frames of SL 427": (sl427, b"\x68" * 104 + b"\x16" * 104, GOOD_427),
    "starts of SL 651": (sl651, b"\x7e", GOOD_651),
    # Frames of 0FFAh bytes that end in the centre's address of another head, which is ENQ.
    "frames of SL 651": (sl651, bytes.fromhex("7E7E0500123456780000328FFA02"), GOOD_651),
    "starts of HJ 212": (hj212, b"#", GOOD_212),
    # LEN names the end of another frame's start 4098 bytes on.
    "frames of HJ 212": (hj212, b"##4094&&AAAA", GOOD_212),
}


def lines_of(work: Callable[[], object]) -> int:
    """Return how many lines of Python run in ``work``."""
    count = 0

    def line(frame: FrameType, event: str, _: object) -> Any:  # what sys.settrace wants
        nonlocal count
        count += event == "line"
        return line

    before = sys.gettrace()
    sys.settrace(line)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("piece", [FED, 100])
@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_costs_what_its_length_costs(name: str, piece: int) -> None:
    make, unit, good = FLOODS[name]
    flood = unit * (FED // len(unit))
    read, found = make(), list[object]()

    def feed() -> None:
        for at in range(0, len(flood), piece):
            found.extend(read(flood[at : at + piece]))

    assert lines_of(feed) < MOST_LINES * len(flood)
    assert len(found) < len(flood) / 10, "an error costs memory"
    assert all(isinstance(one, FormatError) for one in found)
    # Behind what a false start may still claim, the next frames are read.
    behind = [one for one in read(good * 200) if not isinstance(one, FormatError)]
    assert behind
    assert behind[-1] == make()(good)[0]


def test_damage_within_the_budget_costs_no_good_frame() -> None:
    """Three damaged frames within one another, and a good one within them, are all looked at."""
    inner = GOOD_427
    for _ in range(3):
        inner = bytes((0x68, len(inner) + 7, 0x68)) + bytes(7) + inner + b"\0\x16"
    found = sl427()(inner)
    assert len([one for one in found if isinstance(one, FormatError)]) >= 3
    assert [one for one in found if not isinstance(one, FormatError)] == sl427()(GOOD_427)


@pytest.mark.parametrize("piece", [1, 7, 100_000])
@pytest.mark.parametrize("name", [name for name in FLOODS if name.startswith("starts")])
def test_good_frames_are_all_checked_however_they_come(name: str, piece: int) -> None:
    make, _, good = FLOODS[name]
    data, read = good * 20, make()
    found = [one for at in range(0, len(data), piece) for one in read(data[at : at + piece])]
    assert found == make()(good) * 20
