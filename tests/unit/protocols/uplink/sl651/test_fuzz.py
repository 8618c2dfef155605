"""Any bytes are frames, a request for more, or a FormatError, in bounded memory."""

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from protocols.uplink.errors import FormatError
from protocols.uplink.sl427 import (
    Sl427Frame,
    Sl427Reader,
    Sl427Settings,
    Sl427Station,
    encode_sl427,
    read_number,
)
from protocols.uplink.sl651 import (
    Sl651Frame,
    Sl651Reader,
    Station,
    StationSettings,
    element_value,
    encode_frame,
    read_identifiers,
    read_period_question,
    read_report,
    read_sampling,
)
from protocols.uplink.station import Confirmed
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


QUESTIONS = {
    0x38: bytes.fromhex("251009162510091704180000010211"),
    0x3A: bytes.fromhex("0211392338121c"),
    0x42: bytes.fromhex("23100030"),
}


@given(
    st.sampled_from(sorted(QUESTIONS)),
    MUTATIONS,
    st.binary(max_size=20),
    st.integers(0, 0xFFF),
    st.integers(0, 0xFFF),
)
def test_any_question_is_one_or_a_format_error(
    function: int, changes: list[tuple[float, int]], more: bytes, number: int, total: int
) -> None:
    """A station answers none of them by itself, and no packet of an answer that was never given."""
    body = bytes(mutated(QUESTIONS[function], changes)) + more
    for read in (read_period_question, read_identifiers, read_sampling):
        with suppress(FormatError):
            read(body)
    settings = StationSettings(1, bytes(5))
    station = Station(settings, 1, 0)
    head = bytes(2) + bytes.fromhex("251009165320")
    packet = (number, total) if 1 <= number <= total else (0, 0)
    for end in (0x05, 0x15, 0x1B):
        whole = Sl651Frame(1, bytes(5), bytes(2), function, head + body, end, is_down=True)
        frame = replace(whole, number=packet[0], total=packet[1])
        station.receive(encode_frame(frame), 0)
    assert station.outgoing() == b""


@given(st.lists(st.binary(min_size=7, max_size=40), max_size=4))
def test_a_station_of_sl_427_takes_any_frames(inners: list[bytes]) -> None:
    station = Sl427Station(Sl427Settings(address=bytes(5)), 0)
    station.send(2, bytes(8), datetime(2026, 1, 1, tzinfo=UTC), 0, 7)
    station.outgoing()
    for inner in inners:
        frame = Sl427Frame(inner[0] & 0x7F, inner[1:6], inner[6], inner[7:])
        for event in station.receive(encode_sl427(frame), 0):
            is_ours = (frame.address, frame.function) == (bytes(5), 0xC0)
            assert is_ours or not isinstance(event, Confirmed)
    assert station.outgoing() == b""
