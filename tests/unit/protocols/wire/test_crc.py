"""CRC-16/MODBUS against numbers from elsewhere."""

from protocols.wire.crc import TABLE, crc16
from tests.dual import raises, vectors


def test_vectors() -> None:
    for case in vectors("crc")["cases"]:
        data = bytes.fromhex(case["data"])
        for shape in (data, bytearray(data), memoryview(data)):
            assert crc16(shape) == case["crc"], case["name"]


def test_length_ends_before_the_data_do() -> None:
    assert crc16(b"123456789 and more", 9) == 0x4B37
    assert crc16(b"123456789", 0) == 0xFFFF


def test_goes_on_from_a_former_result() -> None:
    for cut in range(10):
        assert crc16(b"123456789"[cut:], crc=crc16(b"123456789", cut)) == 0x4B37


def test_a_frame_with_its_crc_gives_zero() -> None:
    for case in vectors("crc")["cases"]:
        crc = case["crc"]
        assert crc16(bytes.fromhex(case["data"]) + bytes([crc & 0xFF, crc >> 8])) == 0


def test_every_bit_counts() -> None:
    good = bytearray(b"123456789")
    for bit in range(8 * len(good)):
        good[bit // 8] ^= 1 << bit % 8
        assert crc16(good) != 0x4B37
        good[bit // 8] ^= 1 << bit % 8


def test_a_length_beyond_the_data_is_an_error() -> None:
    raises(IndexError, crc16, b"12", 3)


def test_the_table_has_256_entries() -> None:
    assert len(TABLE) == 256
    assert TABLE[0] == 0
    assert TABLE[1] == 0xC0C1
    assert TABLE[255] == 0x4040
