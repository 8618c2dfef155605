"""Any bytes are frames, a request for more, or a FormatError, in bounded memory."""

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from protocols.uplink.errors import FormatError
from protocols.uplink.sl427 import Sl427Frame, Sl427Reader, encode_sl427, read_number
from protocols.uplink.sl651 import Sl651Reader, element_value, read_report
from protocols.wire.crc import crc16

from .test_frames import CASES, GOOD, Case

MUTATIONS = st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=4)


def mutated(data: bytes, changes: list[tuple[float, int]]) -> bytearray:
    """Return ``data`` with the byte at each share of its length replaced."""
    changed = bytearray(data)
    for share, value in changes:
        changed[int(share * len(changed))] = value
    return changed


def drain(reader: Sl651Reader | Sl427Reader, data: bytes) -> None:
    """Feed bytes and read until nothing is left; each turn uses at least one byte up."""
    reader.feed(data)
    for _ in range(len(data) + 2):
        try:
            frame = reader.next_frame()
        except FormatError:
            continue
        if frame is None:
            return
    raise AssertionError("the reader went round without using bytes up")


@given(st.lists(st.sampled_from(CASES), min_size=1, max_size=3), MUTATIONS)
def test_frames_with_changed_bytes(cases: list[Case], changes: list[tuple[float, int]]) -> None:
    drain(Sl651Reader(), bytes(mutated(b"".join(case.data for case in cases), changes)))


@given(st.sampled_from(GOOD), MUTATIONS, st.booleans())
def test_bodies_behind_a_right_checksum(
    case: Case, changes: list[tuple[float, int]], is_series: bool
) -> None:
    frame = mutated(case.data, changes)
    end = 15 + (int.from_bytes(case.data[11:13]) & 0xFFF)
    frame[:2], frame[11:14] = case.data[:2], case.data[11:14]
    reader = Sl651Reader()
    reader.feed(bytes(frame[:end]) + crc16(bytes(frame[:end])).to_bytes(2))
    with suppress(FormatError):
        found = reader.next_frame()
        assert found is not None
        for observation in read_report(found.body, is_series).observations:
            for group in observation.groups:
                element_value(group)


@given(st.binary(max_size=300))
def test_bytes_of_any_kind(data: bytes) -> None:
    drain(Sl651Reader(), b"\x7e\x7e" + data)
    drain(Sl427Reader(), b"\x68" + data)


@given(st.integers(0, 255), st.binary(min_size=7, max_size=60))
def test_numbers_of_any_report(control: int, inner: bytes) -> None:
    reader = Sl427Reader()
    reader.feed(encode_sl427(Sl427Frame(control, inner[:5], 0xC0, inner[5:])))
    frame = reader.next_frame()
    assert frame is not None
    with suppress(FormatError):
        assert read_number(frame)[0].kind == control & 0xF
