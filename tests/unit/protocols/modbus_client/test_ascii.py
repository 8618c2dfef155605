"""Modbus ASCII frames: written, found in what a line delivers, and never believed when damaged."""

import random

import pytest
from pymodbus.framer import FramerAscii
from pymodbus.pdu import DecodePDU

from protocols.modbus_client import AnswerShape, AsciiClient, Read, read_request
from protocols.modbus_client.ascii import MAX_BUFFER

# Modbus over Serial Line: address F7, function 03, register 1389, 10 of them; LRC 60.
KNOWN = read_request(0xF7, Read(3, 0x1389, 10))
TWO = read_request(1, Read(4, 0, 2))


def line(frame: bytes) -> bytes:
    """A frame as an implementation of others writes it."""
    framer = FramerAscii(DecodePDU(False))
    return framer.encode(frame[1:], frame[0], 0)


ANSWER = line(b"\x01\x04\x04\x00\x07\xff\x08")
PDU = b"\x04\x04\x00\x07\xff\x08"


def test_a_request_is_the_known_frame() -> None:
    assert AsciiClient().send(KNOWN) == b":F7031389000A60\r\n"
    assert AsciiClient().send(TWO) == line(TWO.adu[:-2])


@pytest.mark.parametrize(
    "stream",
    [
        ANSWER,
        ANSWER.lower(),
        b"\xff\x00:0104" + ANSWER,  # a frame that was cut short by the next one
        line(TWO.adu[:-2]) + ANSWER,  # the adapter returns what was sent
        line(b"\x02\x04\x02\x00\x01") + ANSWER,
        ANSWER[:5] + b"0" + ANSWER[6:-4] + b"00\r\n" + ANSWER,  # damaged, then whole
        b"\r\n" + ANSWER,
    ],
)
def test_the_answer_is_found_however_it_comes(stream: bytes) -> None:
    whole = AsciiClient()
    whole.send(TWO)
    assert whole.feed(stream) == PDU
    single = AsciiClient()
    single.send(TWO)
    found = [single.feed(bytes((byte,))) for byte in stream]
    assert [pdu for pdu in found if pdu is not None] == [PDU]
    assert found[-1] == PDU


def test_no_answer_is_taken_after_another_master_asked_for_as_much() -> None:
    client = AsciiClient()
    client.send(TWO)
    assert client.feed(line(b"\x01\x04\x01\x00\x00\x02") + ANSWER) is None
    assert client.unexpected.others == client.unexpected.foreign == [AnswerShape(1, 4, 4)]
    client.send(TWO)
    assert client.feed(line(b"\x01\x04\x01\x00\x00\x03") + ANSWER) == PDU


def test_an_exception_is_an_answer() -> None:
    client = AsciiClient()
    client.send(TWO)
    assert client.feed(line(b"\x01\x84\x02")) == b"\x84\x02"


@pytest.mark.parametrize("at", range(1, len(ANSWER)))
def test_a_changed_character_is_no_answer(at: int) -> None:
    for other in (b"0", b"F", b"x", b":", b"\n"):
        if ANSWER[at : at + 1] in (other, other.lower()):
            continue
        client = AsciiClient()
        client.send(TWO)
        assert client.feed(ANSWER[:at] + other + ANSWER[at + 1 :]) is None
        unexpected = client.finish()
        assert unexpected.damaged or unexpected.noise_bytes


def test_what_is_no_answer_is_sorted() -> None:
    client = AsciiClient()
    client.send(TWO)
    assert client.feed(line(b"\x01\x04\x02\x00\x07") + line(b"\x07\x03\x02\x00\x07")) is None
    assert client.feed(line(b"\x01\x04\x02\x00\x07")[:-2] + b"\r") is None
    unexpected = client.finish()
    assert unexpected.foreign == [AnswerShape(1, 4, 2), AnswerShape(7, 3, 2)]
    assert unexpected.noise_bytes == 14
    assert client.feed(ANSWER) is None, "nothing is awaited any more"
    assert client.unexpected.foreign[-1] == AnswerShape(1, 4, 4)


def test_an_answer_that_is_cut_short_is_damaged() -> None:
    client = AsciiClient()
    client.send(TWO)
    assert client.feed(ANSWER[:-4]) is None
    assert client.finish().damaged == 1


def test_any_input_costs_bounded_memory_and_raises_nothing() -> None:
    source = random.Random(7)
    for _ in range(300):
        client = AsciiClient()
        client.send(TWO)
        for _ in range(20):
            kinds = (source.randbytes(40), b":" * 30, b"0" * 900, ANSWER[: source.randrange(18)])
            client.feed(source.choice(kinds))
            assert len(client._buffer) <= MAX_BUFFER
        client.finish()
        client.send(TWO)
        assert client.feed(ANSWER) == PDU
