"""Every published frame of HJ 212 comes back byte for byte or is refused for its reason."""

import pytest

from protocols.uplink.errors import BAD_CHECKSUM
from protocols.uplink.hj212 import (
    HJ_VALUES,
    AcceptedFrame,
    ChecksumKind,
    Hj212Dialect,
    Hj212Message,
    Hj212Reader,
    RejectedFrame,
    checksum,
    parse_body,
    write_frame,
)
from protocols.uplink.hj212.sm4 import Sm4Text
from protocols.wire.errors import TRUNCATED

from .vectors import VECTORS, FrameVector, dialect_of, frames

GOOD = frames("ok/hj")
ALL = VECTORS["frames"]


def only(found: list[AcceptedFrame | RejectedFrame]) -> AcceptedFrame | RejectedFrame:
    """Return the one thing that was found."""
    assert len(found) == 1, found
    return found[0]


def test_the_file_is_whole() -> None:
    assert (len(ALL), len(GOOD), len(frames("ok/modbus")), len(frames("ok/crc_bad"))) == (
        96,
        84,
        4,
        7,
    )


@pytest.mark.parametrize("row", GOOD + frames("ok/modbus"), ids=lambda row: row["frame"][6:60])
def test_good_frames_come_back_byte_for_byte(row: FrameVector) -> None:
    dialect = dialect_of(row)
    found = only(Hj212Reader(dialect.checksum).feed(row["frame"].encode()))
    assert isinstance(found, AcceptedFrame)
    assert (found.message.cn, found.message.st) == (row["cn"], row["st"])
    assert write_frame(found.message, dialect) == row["frame"].encode() + b"\r\n"


@pytest.mark.parametrize("row", frames("ok/modbus"), ids=lambda row: row["cn"])
def test_another_kind_of_checksum_is_told_apart(row: FrameVector) -> None:
    found = only(Hj212Reader().feed(row["frame"].encode()))
    assert isinstance(found, RejectedFrame)
    assert found.error.field == "CRC kind"
    assert "got CRC-16/MODBUS " + row["frame"][-4:] in str(found.error)


@pytest.mark.parametrize("row", frames("ok/crc_bad"), ids=lambda row: row["frame"][6:40])
def test_wrong_checksums_are_refused(row: FrameVector) -> None:
    found = only(Hj212Reader().feed(row["frame"].encode()))
    assert isinstance(found, RejectedFrame)
    assert found.error.code == BAD_CHECKSUM
    received = int(row["frame"][-4:], 16)
    assert found.error.field == ("CRC" if received in HJ_VALUES else "CRC kind")


def test_a_wrong_length_is_refused_and_the_next_frame_read() -> None:
    (row,) = frames("len_bad/crc_bad")
    reader = Hj212Reader()
    assert reader.feed(row["frame"].encode()) == []
    late = only(reader.silence())
    assert isinstance(late, RejectedFrame)
    assert late.error.code == TRUNCATED
    wrong, right = reader.feed((row["frame"] + GOOD[0]["frame"]).encode())
    assert isinstance(wrong, RejectedFrame)
    assert wrong.error.field == "LEN"
    assert isinstance(right, AcceptedFrame)
    assert right.raw == GOOD[0]["frame"].encode()


def test_checksums() -> None:
    for row in VECTORS["checksums"]:
        data = row["data"].encode()
        assert checksum(data, ChecksumKind.HJ) == int(row["hj"], 16)
        if "modbus" in row:
            assert checksum(data, ChecksumKind.MODBUS) == int(row["modbus"], 16)


def test_annex_a_has_256_values() -> None:
    """Annex A done here bit by bit, from its text, gives what the product's table gives."""
    seen = set()
    for byte in range(256):
        register = 0xFFFF
        for value in (byte, 0x41):
            register = (register >> 8) ^ value
            for _ in range(8):
                carry = register & 1
                register >>= 1
                if carry:
                    register ^= 0xA001
        seen.add(register)
        assert checksum(bytes((byte, 0x41)), ChecksumKind.HJ) == register
    assert seen <= HJ_VALUES
    assert len(HJ_VALUES) == 256


@pytest.mark.parametrize("row", VECTORS["text"], ids=lambda row: row["encoding"])
def test_chinese_text_in_both_encodings(row: dict[str, str]) -> None:
    raw = bytes.fromhex(row["frame"])
    found = only(Hj212Reader().feed(raw))
    assert isinstance(found, AcceptedFrame)
    assert found.message.value("i11001-Info") == "//清洗管路//"
    assert write_frame(found.message, Hj212Dialect(encoding=row["encoding"])) == raw + b"\r\n"


def test_encrypted_frames_of_2025() -> None:
    for row in VECTORS["sm4"]:
        text = Sm4Text(bytes.fromhex(row["key"]))
        clear = f"{row['head']}CP=&&{row['cp']}&&"
        plain = only(Hj212Reader().feed(f"##{row['len']}{clear}{row['checksum']}".encode()))
        assert isinstance(plain, AcceptedFrame)
        frame = write_frame(plain.message, Hj212Dialect(), text.encrypt)
        cipher = frame.removeprefix(f"##{row['len']}{row['head']}CP=&&".encode())
        cipher = cipher.removesuffix(f"&&{row['checksum']}\r\n".encode())
        assert cipher.startswith(bytes.fromhex(row["begin"]))
        assert cipher.endswith(bytes.fromhex(row["end"]))
        found = only(Hj212Reader(decrypt=text.decrypt).feed(frame))
        assert isinstance(found, AcceptedFrame)
        assert found.message == plain.message
        without_key = only(Hj212Reader().feed(frame[:-2]))
        assert isinstance(without_key, RejectedFrame)


def test_an_answer_in_clear_is_read_where_data_are_encrypted() -> None:
    reader = Hj212Reader(decrypt=Sm4Text(bytes(16)).decrypt)
    for row in GOOD:
        assert isinstance(only(reader.feed(row["frame"].encode())), AcceptedFrame)


def test_marks_inside_encrypted_text_end_no_frame() -> None:
    """Text that a cipher happened to turn into marks: the frame is cut by LEN alone."""
    holes = b"##0087&&\r\n1234##"

    def swap(text: bytes) -> bytes:
        return holes if text != holes else b"DataTime=2026112"

    message = Hj212Message("31", "2051", "123456", "A1", parse_body("DataTime=2026112"), None, 9)
    frame = write_frame(
        Hj212Message("31", "2051", "1", "A1", message.body, "20240520210700000", 9),
        Hj212Dialect(),
        swap,
    )
    assert holes in frame
    for size in (1, 7, len(frame)):
        reader = Hj212Reader(decrypt=swap)
        got = [
            item for at in range(0, len(frame), size) for item in reader.feed(frame[at : at + size])
        ]
        found = only(got)
        assert isinstance(found, AcceptedFrame)
        assert found.message.value("DataTime") == "2026112"
