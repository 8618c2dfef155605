"""A line is heard whole and in pieces, with damage, and in bounded memory."""

import random

import pytest

from protocols.modbus_client.listener import MAX_HELD, QUIET_MS, BusListener, Heard, HeardFrame

# Frames of the Modbus specifications' own examples, CRCs by the algorithm of 6.2.2 below.


def adu(body: str) -> bytes:
    data = bytes.fromhex(body)
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return data + crc.to_bytes(2, "little")


#: Frame, what it is, what it says.
TALK = [
    (adu("01 04 0010 0002"), Heard.REQUEST, "unit 1 read input registers 16..17"),
    (adu("01 04 04 0064 ffff"), Heard.ANSWER, "unit 1 read input registers = 100 65535"),
    (adu("01 04 0010 0002"), Heard.REQUEST, "unit 1 read input registers 16..17"),
    (
        adu("01 84 02"),
        Heard.EXCEPTION,
        "unit 1 read input registers exception: illegal data address",
    ),
    (adu("02 06 0005 0001"), Heard.REQUEST, "unit 2 write single register 5 = 1"),
    (adu("02 06 0005 0001"), Heard.ANSWER, "unit 2 write single register 5 = 1"),
    (
        adu("02 10 0005 0002 04 0001 0002"),
        Heard.REQUEST,
        "unit 2 write multiple registers 5..6 = 1 2",
    ),
    (adu("02 10 0005 0002"), Heard.ANSWER, "unit 2 write multiple registers 5..6"),
    (adu("00 06 0005 0001"), Heard.REQUEST, "unit 0 write single register 5 = 1"),
    (adu("03 03 0000 0001"), Heard.REQUEST, "unit 3 read holding registers 0"),
]


def said(frames: list[HeardFrame]) -> list[tuple[bytes, Heard, str]]:
    return [(frame.data, frame.kind, frame.describe()) for frame in frames]


@pytest.mark.parametrize("piece", [1, 3, 7, 1000])
def test_a_talk_is_understood_however_it_is_cut(piece: int) -> None:
    listener = BusListener()
    line = b"".join(frame for frame, _, _ in TALK)
    found: list[HeardFrame] = []
    for at in range(0, len(line), piece):
        found += listener.feed(line[at : at + piece], 1)
    assert said(found) == TALK


def test_damage_between_frames_is_one_piece_and_the_next_frame_is_understood() -> None:
    listener = BusListener()
    bad = bytearray(TALK[1][0])
    bad[4] ^= 0x10
    found = listener.feed(TALK[0][0] + bytes(bad) + TALK[4][0], 1)
    assert [frame.kind for frame in found] == [Heard.REQUEST, Heard.DAMAGED, Heard.REQUEST]
    assert found[1].data == bytes(bad)
    assert "CRC wrong" in found[1].describe()


def test_a_silence_ends_what_is_no_frame_and_frames_of_unknown_length() -> None:
    listener = BusListener()
    vendors = adu("05 41 aabbcc")
    assert listener.feed(vendors, 1) == []
    assert listener.feed(b"", QUIET_MS) == []
    (frame,) = listener.feed(b"", 1 + QUIET_MS)
    assert (frame.kind, frame.describe()) == (Heard.REQUEST, "unit 5 function 0x41")
    listener.feed(b"\xff\xfe", 1000)
    (frame,) = listener.feed(b"", 1000 + QUIET_MS)
    assert (frame.kind, frame.data) == (Heard.DAMAGED, b"\xff\xfe")


def test_any_bytes_cost_bounded_memory_and_none_is_lost() -> None:
    listener = BusListener()
    rng = random.Random(7)
    line = rng.randbytes(20_000)
    came = b""
    at = 0
    while at < len(line):
        size = rng.randrange(1, 400)
        came += b"".join(frame.data for frame in listener.feed(line[at : at + size], 1))
        at += size
        assert len(listener._held) <= MAX_HELD
    came += b"".join(frame.data for frame in listener.feed(b"", 1000))
    assert came == line
