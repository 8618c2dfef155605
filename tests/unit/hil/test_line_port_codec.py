"""The messages between the bench and a UART on Renode: bytes of each, and what is none."""

from __future__ import annotations

import random

import pytest

from hil.errors import WireError
from hil.wires.line_port_codec import (
    MAX_BODY,
    MAX_PIECE,
    Decoder,
    Delivered,
    Message,
    Now,
    Retract,
    Sent,
    Ticks,
    TimedPiece,
    encode,
)

#: Written out by hand from the table in the codec's docstring.
MESSAGES: dict[str, Message] = {
    "01 1a00 02000000 e803000000000000 7c150000 00000000 12040000 0105": TimedPiece(
        2, 1000, 5500, (0, 1042), b"\x01\x05"
    ),
    "02 0800 4042 0f0000000000": Retract(1_000_000),
    "03 0400 d0070000": Ticks(2000),
    "11 1300 0a00000000000000 1400000000000000 010305": Sent(10, 20, b"\x01\x03\x05"),
    "12 1600 07000000 0a00000000000000 1400000000000000 0300": Delivered(7, 10, 20, 3),
    "13 0800 0100000000000000": Now(1),
}


@pytest.mark.parametrize(("text", "message"), MESSAGES.items())
def test_a_message_has_these_bytes(text: str, message: Message) -> None:
    raw = bytes.fromhex(text)
    assert encode(message) == raw
    assert list(Decoder().feed(raw)) == [message]
    assert not list(Decoder().feed(raw[:-1]))


def test_messages_come_whole_however_the_stream_is_cut() -> None:
    stream = b"".join(map(bytes.fromhex, MESSAGES))
    for size in (1, 2, 7, len(stream)):
        decoder = Decoder()
        pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
        assert [m for piece in pieces for m in decoder.feed(piece)] == list(MESSAGES.values())


@pytest.mark.parametrize(
    "text",
    [
        "04 0000",
        "01 1000 02000000 e803000000000000 7c150000",  # no byte
        "01 1100 02000000 e803000000000000 7c150000 00",
        "02 0700 00000000000000",
        "12 0100 00",
        "13 ffff",
    ],
)
def test_what_is_no_message_is_an_error(text: str) -> None:
    with pytest.raises(WireError, match=r"expected|no such kind|message 0x"):
        list(Decoder().feed(bytes.fromhex(text)))


def test_any_input_is_messages_or_an_error_in_bounded_memory() -> None:
    rng = random.Random(7)
    for _ in range(2000):
        decoder = Decoder()
        try:
            for _ in range(20):
                list(decoder.feed(rng.randbytes(rng.randrange(900))))
        except WireError:
            continue
        assert len(decoder._buffer) <= MAX_BODY + 3


def test_a_piece_is_no_longer_than_a_frame() -> None:
    for offsets, data in (((), b""), ((0,), b"ab"), (range(MAX_PIECE + 1), bytes(MAX_PIECE + 1))):
        with pytest.raises(WireError, match="1 to 256 bytes with an offset for each"):
            encode(TimedPiece(1, 0, 0, tuple(offsets), data))
