"""The client cores without I/O: requests, finding answers, and what came besides them."""

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.modbus_client import (
    LATE,
    VARIABLE,
    WRONG_ID,
    AnswerShape,
    MbapClient,
    Read,
    RtuClient,
    decode_identification,
    identify_request,
    read_request,
)
from protocols.modbus_client.rtu import MAX_BUFFER
from protocols.wire.errors import LocalError, PeerError
from tests.unit.gateway_agent.slave import answer, frame, mbap, raw_answer, refusal

TEN = read_request(1, Read(4, 0, 10))
VALUES = tuple(range(100, 110))
GOOD = answer(1, *VALUES)
PDU = b"\x04\x14" + struct.pack(">10H", *VALUES)


@given(st.binary(max_size=600), st.lists(st.integers(1, 40), max_size=30))
def test_any_bytes_on_a_line_are_sorted_in_bounded_memory(data: bytes, cuts: list[int]) -> None:
    client = RtuClient()
    client.send(TEN)
    at = 0
    for cut in [*cuts, len(data)]:
        answer_pdu = client.feed(data[at : at + cut])
        at += cut
        assert answer_pdu is None  # random bytes with a matching CRC do not occur
        assert len(client._buffer) <= MAX_BUFFER
    unexpected = client.finish()
    assert 0 <= unexpected.noise_bytes <= len(data)


def test_a_line_that_never_stops_costs_no_more_than_the_cap() -> None:
    client = RtuClient()
    client.send(TEN)
    for _ in range(1000):
        assert client.feed(b"\x01\x04\x14" * 30) is None
        assert len(client._buffer) <= MAX_BUFFER
    assert client.finish().noise_bytes == 90_000
    client.send(TEN)
    assert client.feed(GOOD) == PDU


@given(st.binary(max_size=200), st.integers(1, 30))
def test_an_answer_is_found_behind_any_noise(noise: bytes, cut: int) -> None:
    client = RtuClient()
    client.send(TEN)
    data = noise + GOOD
    found = [client.feed(data[at : at + cut]) for at in range(0, len(data), cut)]
    assert [item for item in found if item is not None] == [PDU]


@pytest.mark.parametrize("behind", [b"", raw_answer(1, b"\xaa\xaa\xaa", function=1)])
def test_an_echo_that_looks_like_an_answer_with_coils_is_none(behind: bytes) -> None:
    # The high byte of the address stands where an answer has its number of bytes: three.
    request = read_request(1, Read(1, 0x0300, 24))
    client = RtuClient()
    assert client.send(request) == frame(bytes((1, 1, 3, 0, 0, 24)))
    assert client.feed(request.adu + behind) == (b"\x01\x03\xaa\xaa\xaa" if behind else None)
    unexpected = client.finish()
    assert not unexpected.foreign
    assert unexpected.noise_bytes == 0


def test_no_answer_is_taken_after_another_master_asked_for_as_much() -> None:
    other = frame(bytes((1, 4, 1, 0, 0, 10)))
    client = RtuClient()
    client.send(TEN)
    assert client.feed(other) is None
    assert client.feed(answer(1, *range(10))) is None
    assert client.feed(GOOD) is None
    unexpected = client.finish()
    assert unexpected.others == [AnswerShape(1, 4, 20)]
    assert unexpected.foreign == [AnswerShape(1, 4, 20)] * 2
    assert unexpected.noise_bytes == len(other)


@pytest.mark.parametrize(
    "other",
    [
        frame(bytes((1, 4, 1, 0, 0, 9))),  # its answer is shorter
        frame(bytes((1, 3, 1, 0, 0, 10))),
        frame(bytes((2, 4, 1, 0, 0, 10))),
        frame(bytes((1, 4, 1, 0, 0, 126))),  # nobody may ask for so much
    ],
)
def test_the_answer_is_taken_if_another_master_asks_for_something_else(other: bytes) -> None:
    client = RtuClient()
    client.send(TEN)
    assert client.feed(other + GOOD) == PDU


@given(st.binary(max_size=600), st.integers(1, 40))
def test_any_bytes_from_a_tcp_peer_end_in_an_answer_or_peer_error(data: bytes, cut: int) -> None:
    client = MbapClient()
    client.send(TEN)
    try:
        for at in range(0, len(data), cut):
            client.feed(data[at : at + cut])
            assert len(client._buffer) < 6 + 254 + 1
    except PeerError:
        pass


@given(st.binary(max_size=260))
def test_any_identification_is_decoded_or_refused(data: bytes) -> None:
    with contextlib.suppress(PeerError):
        decode_identification(data)


def test_identification_vector() -> None:
    # Modbus Application Protocol V1.1b3, 6.21, example: two objects "Company identification"
    # shortened, more follows from object 3.
    pdu = bytes.fromhex("2b0e0101ff0302") + b"\x00\x03abc" + b"\x01\x02xy"
    assert decode_identification(pdu) == ({0: b"abc", 1: b"xy"}, 3)


def test_request_vectors() -> None:
    # Values of the specification and of reference captures, not of this code.
    assert read_request(1, Read(3, 0, 10)).adu == bytes.fromhex("01030000000ac5cd")
    assert read_request(0x11, Read(3, 0x6B, 3)).adu == bytes.fromhex("1103006b00037687")


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (Read(4, 0, 126), "registers of a read: expected 1 to 125, got 126"),
        (Read(4, 0, 0), "registers of a read: expected 1 to 125, got 0"),
        (Read(6, 0, 1), "function of a read: expected 1 to 4, got 6"),
        (Read(3, 65_530, 7), "address of a read: expected 0 to 65529 for 7 registers, got 65530"),
        (Read(3, -1, 1), "address of a read: expected 0 to 65535"),
    ],
)
def test_a_read_that_cannot_be_is_our_error(read: Read, text: str) -> None:
    with pytest.raises(LocalError, match=text):
        read_request(1, read)


def test_the_last_register_can_be_read() -> None:
    assert read_request(1, Read(3, 65_535, 1)).pdu == bytes.fromhex("03ffff0001")


def test_identification_request_vector() -> None:
    # Modbus Application Protocol V1.1b3, 6.21, example: read basic identification from object 0.
    assert identify_request(1, 1, 0).pdu == bytes.fromhex("2b0e0100")


def test_an_exception_and_an_identification_are_answers() -> None:
    client = RtuClient()
    client.send(TEN)
    assert client.feed(refusal(1, 4, 2)) == b"\x84\x02"
    client.send(identify_request(1, 1, 0))
    found = bytes.fromhex("2b0e0101000003") + b"\x00\x01a" + b"\x01\x01b" + b"\x02\x01c"
    for byte in frame(b"\x01", found)[:-1]:
        assert client.feed(bytes((byte,))) is None
    assert client.feed(frame(b"\x01", found)[-1:]) == found


def test_what_came_besides_the_answer_is_sorted() -> None:
    client = RtuClient()
    client.send(TEN)
    coils = frame(b"\x09\x01\x01\x05")  # of another unit
    damaged = GOOD[:-1] + bytes((GOOD[-1] ^ 1,))
    assert client.feed(answer(2, 7) + coils + refusal(3, 4, 6) + b"\xff" + TEN.adu) is None
    assert client.feed(damaged) is None
    unexpected = client.finish()
    assert unexpected.foreign == [
        AnswerShape(2, 4, 2),
        AnswerShape(9, 1, 1),
        AnswerShape(3, 0x84, VARIABLE),
    ]
    assert unexpected.damaged == 1
    assert unexpected.noise_bytes == 1 + len(damaged)


def test_an_answer_that_nobody_waits_for_is_foreign() -> None:
    client = RtuClient()
    client.send(TEN)
    assert client.feed(GOOD) == PDU
    assert client.feed(GOOD) is None
    assert client.finish().foreign == [AnswerShape(1, 4, 20)]


def test_tcp_answers_to_earlier_requests_are_late() -> None:
    client = MbapClient()
    assert client.send(TEN)[:2] == b"\x00\x01"
    client.finish()
    assert client.send(TEN)[:2] == b"\x00\x02"
    assert client.feed(mbap(1, 1, PDU) + mbap(2, 7, PDU) + mbap(2, 1, PDU)) == PDU
    assert client.unexpected.foreign == [AnswerShape(1, 4, LATE), AnswerShape(7, 4, 20)]


def test_tcp_an_id_that_no_request_had_is_not_late() -> None:
    client = MbapClient()
    for _ in range(2):
        client.send(TEN)
    assert client.feed(mbap(3, 1, PDU) + mbap(0, 1, PDU) + mbap(0xFFFF, 1, PDU)) is None
    assert [shape.data_bytes for shape in client.unexpected.foreign] == [WRONG_ID] * 3
    any_id = MbapClient(check_ids=False)
    any_id.send(TEN)
    assert any_id.feed(mbap(77, 2, PDU) + mbap(77, 1, PDU[:-2]) + mbap(77, 1, PDU)) == PDU


def test_an_identification_whose_lengths_do_not_fit_is_refused() -> None:
    good = bytes.fromhex("2b0e0101000001") + b"\x00\x03abc"
    assert decode_identification(good) == ({0: b"abc"}, None)
    for size in range(len(good)):
        with pytest.raises(PeerError, match="identification"):
            decode_identification(good[:size])
    with pytest.raises(PeerError, match="identification: expected 12 bytes, got 13 at byte 12"):
        decode_identification(good + b"x")
