"""Frames: COBS and CRC against written-out cases, and a receiver that nothing can confuse."""

import binascii

from protocols.wire.link.frame import (
    ACK,
    ASK,
    BYE,
    DATA,
    HEADER,
    MAX_FRAME,
    SEAL_BYTES,
    FrameReader,
    FrameWriter,
    cobs_encode,
    payload_room,
)

from .support import Lcg

BOOT_TEXT = b"MicroPython v1.26 on 2026-01-01; TF-AIR\r\n>>> " * 20


def on_wire(content: bytes) -> bytes:
    """A frame between two zero bytes, from its content without CRC."""
    content += binascii.crc32(content).to_bytes(4, "big")
    out = bytearray(MAX_FRAME + 20)
    return b"\x00" + bytes(out[: cobs_encode(content, len(content), out, 0)]) + b"\x00"


def content(kind: int, payload: bytes, length: int = -1) -> bytes:
    length = len(payload) if length < 0 else length
    head = bytes((kind, 0, 0, 0, length >> 8, length & 0xFF))
    return head + payload + (bytes(SEAL_BYTES) if kind >= DATA else b"")


def read(reader: FrameReader, data: bytes) -> "list[bytes]":
    frames = []
    at = 0
    while at < len(data):
        at = reader.feed(data, at, len(data))
        if reader.size:
            frames.append(bytes(reader.content[: reader.size]))
    return frames


# Cases of the paper's rules, written out by hand.
COBS = (
    (b"", b"\x01"),
    (b"\x00", b"\x01\x01"),
    (b"\x00\x00", b"\x01\x01\x01"),
    (b"\x11\x22\x00\x33", b"\x03\x11\x22\x02\x33"),
    (b"\x11\x22\x33\x44", b"\x05\x11\x22\x33\x44"),
    (b"\x11\x00\x00\x00", b"\x02\x11\x01\x01\x01"),
    (b"\x07" * 253, b"\xfe" + b"\x07" * 253),
    (b"\x07" * 254, b"\xff" + b"\x07" * 254),
    (b"\x07" * 254 + b"\x00", b"\xff" + b"\x07" * 254 + b"\x01\x01"),
    (b"\x00" + b"\x07" * 254, b"\x01\xff" + b"\x07" * 254),
    (b"\x07" * 255, b"\xff" + b"\x07" * 254 + b"\x02\x07"),
    (b"\x07" * 255 + b"\x00\x08", b"\xff" + b"\x07" * 254 + b"\x02\x07\x02\x08"),
    (b"\x07" * 508, (b"\xff" + b"\x07" * 254) * 2),
)


def test_cobs_cases() -> None:
    out = bytearray(600)
    for plain, coded in COBS:
        end = cobs_encode(plain, len(plain), out, 3)
        assert bytes(out[3:end]) == coded
        assert 0 not in coded


def test_a_frame_is_found_whole_in_pieces_and_doubled() -> None:
    random = Lcg(4)
    for size in (0, 1, 100, 240, 241, 253, 254, 255, payload_room(MAX_FRAME)):
        payload = bytes(random.bytes(size))
        for body in (payload, bytes(size), b"\x01" * size):
            expected = content(DATA, body)
            frame = on_wire(expected)
            assert len(frame) <= MAX_FRAME
            reader = FrameReader()
            assert read(reader, frame) == [expected]
            found = []
            for byte in frame:
                found += read(reader, bytes((byte,)))
            assert found == [expected]
            # One zero byte between two frames is enough.
            assert read(reader, frame + frame[1:]) == [expected] * 2
            assert reader.noise_bytes == 0


def test_the_largest_payload_fits_into_every_largest_frame() -> None:
    for largest in (256, 257, 300, 510, 511, 512):
        room = payload_room(largest)
        for filler in (0, 1):
            frame = on_wire(content(DATA, bytes((filler,)) * room))
            assert len(frame) <= largest
        assert len(on_wire(content(DATA, b"\x01" * (room + 1)))) > largest


def test_a_writer_writes_what_a_reader_reads() -> None:
    writer = FrameWriter()
    for payload in (b"", b"\x00", bytes(480), b"\xff" * 480):
        writer.content[HEADER : HEADER + len(payload)] = payload
        end = writer.header(ASK, 3, 0x1234, len(payload))
        for idle in (True, False):
            length = writer.finish(end, idle)
            frame = bytes(writer.tx[:length])
            assert (frame[0] == 0) is idle
            assert read(FrameReader(), frame) == [
                bytes((ASK, 3, 0x12, 0x34, len(payload) >> 8, len(payload) & 0xFF)) + payload
            ]


def test_boot_text_and_repl_output_between_frames_are_noise() -> None:
    frame = on_wire(content(ASK, b"\x01"))
    reader = FrameReader()
    assert read(reader, BOOT_TEXT + frame + BOOT_TEXT + frame) == [content(ASK, b"\x01")] * 2
    assert reader.noise_bytes == 2 * len(BOOT_TEXT)


def test_a_receiver_locks_on_within_one_frame_after_any_garbage() -> None:
    random = Lcg(7)
    expected = content(DATA, b"after the noise")
    frame = on_wire(expected)
    for _ in range(300):
        reader = FrameReader()
        read(reader, bytes(random.bytes(random.below(1500))))
        # A sender that was not idle puts no zero byte in front: the garbage costs this frame.
        read(reader, frame[1:])
        assert read(reader, frame[1:]) == [expected]


def test_what_breaks_a_rule_is_noise() -> None:
    good = content(DATA, b"payload")
    short = content(DATA, b"payload", 6)
    long = content(DATA, b"payload", 8)
    cut = on_wire(good)
    wrong_crc = bytearray(on_wire(good))
    wrong_crc[4] ^= 0x10
    for data in (
        on_wire(short),
        on_wire(long),
        on_wire(content(0x00, b"")),
        on_wire(content(0x06, b"")),
        on_wire(content(0x0F, b"")),
        on_wire(content(0x14, b"")),
        on_wire(content(0xFF, b"")),
        on_wire(content(ACK, b"")[:-1]),
        bytes(wrong_crc),
        cut[:-2] + b"\x00",
        b"\x00\x01\x00",
        b"\x00\xff\x00",
        b"\x00" + b"\x05abc\x00",
        b"\x00" + b"\x01" * 700 + b"\x00",
    ):
        reader = FrameReader()
        assert read(reader, data) == []
        assert reader.noise_bytes == len(data) - 2
        assert read(reader, on_wire(content(BYE, b"\x00"))) == [content(BYE, b"\x00")]


def test_a_frame_of_more_than_the_largest_is_dropped_even_if_it_is_right() -> None:
    body = bytes(payload_room(MAX_FRAME) + 1)
    reader = FrameReader()
    assert read(reader, on_wire(content(DATA, b"\x01" * len(body)))) == []
    assert reader.noise_bytes == 511


def test_no_single_flipped_bit_gets_through() -> None:
    expected = content(DATA, bytes(range(40)))
    frame = on_wire(expected)
    for at in range(1, len(frame)):
        for bit in range(8):
            damaged = bytearray(frame)
            damaged[at] ^= 1 << bit
            assert read(FrameReader(), bytes(damaged) + b"\x00") == []
