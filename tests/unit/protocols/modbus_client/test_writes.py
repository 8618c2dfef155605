"""Writes of a client: the examples of the specification, and their answers in every framing."""

import pytest

from protocols.modbus_client import (
    AsciiClient,
    MbapClient,
    Request,
    RtuClient,
    coil_request,
    coils_request,
    mask_request,
    read_write_request,
    register_request,
    registers_request,
)
from protocols.modbus_client.ascii import encode_line
from protocols.wire.crc import crc16
from protocols.wire.errors import LocalError

# Modbus Application Protocol V1.1b3, the examples of 6.5, 6.6, 6.11, 6.12, 6.16 and 6.17: request
# and answer. In 6.17 the example reads other registers than it writes; ours are the same ones.
EXAMPLES = [
    (coil_request(1, 0x00AC, on=True), "0500ACFF00", "0500ACFF00"),
    (register_request(1, 1, b"\x00\x03"), "0600010003", "0600010003"),
    (
        coils_request(1, 0x13, [bit == "1" for bit in "1011001110"]),
        "0F0013000A02CD01",
        "0F0013000A",
    ),
    (registers_request(1, 1, bytes.fromhex("000A0102")), "100001000204000A0102", "1000010002"),
    (mask_request(1, 4, 0xF2, 0x25), "16000400F20025", "16000400F20025"),
    (
        read_write_request(1, 14, bytes.fromhex("00FF00FF00FF")),
        "17000E0003000E00030600FF00FF00FF",
        "170600FF00FF00FF",
    ),
]


@pytest.mark.parametrize(("request_", "pdu", "answer"), EXAMPLES)
def test_the_examples_of_the_specification(request_: Request, pdu: str, answer: str) -> None:
    assert request_.pdu == bytes.fromhex(pdu)
    answered = bytes.fromhex(answer)
    frame = b"\x01" + answered
    rtu, mbap, ascii_ = RtuClient(), MbapClient(), AsciiClient()
    rtu.send(request_)
    assert rtu.feed(frame + crc16(frame).to_bytes(2, "little")) == answered
    head = mbap.send(request_)[:4]
    assert mbap.feed(head + len(frame).to_bytes(2, "big") + frame) == answered
    ascii_.send(request_)
    assert ascii_.feed(encode_line(frame)) == answered


@pytest.mark.parametrize(("request_", "pdu", "answer"), EXAMPLES)
def test_an_answer_about_something_else_is_none(request_: Request, pdu: str, answer: str) -> None:
    frame = bytearray(b"\x01" + bytes.fromhex(answer))
    frame[2 if frame[1] == 0x17 else -1] ^= 4
    rtu, mbap = RtuClient(), MbapClient()
    rtu.send(request_)
    assert rtu.feed(bytes(frame) + crc16(frame).to_bytes(2, "little")) is None
    head = mbap.send(request_)[:4]
    assert mbap.feed(head + len(frame).to_bytes(2, "big") + frame) is None


def test_a_unit_that_answers_under_another_one_is_understood() -> None:
    request = mask_request(1, 4, 0xF2, 0x25, answer_unit=9)
    assert request.adu[:1] == b"\x01"
    client = RtuClient()
    client.send(request)
    frame = b"\x09" + bytes.fromhex("16000400F20025")
    assert client.feed(frame + crc16(frame).to_bytes(2, "little")) == frame[1:]


def test_too_many_registers_are_refused() -> None:
    with pytest.raises(LocalError):
        registers_request(1, 0, bytes(244))
    with pytest.raises(LocalError):
        read_write_request(1, 65535, bytes(4))
