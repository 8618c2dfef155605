"""Frames of SL 427: the check value of its CRC-8, frames that were seen, and what is refused."""

from decimal import Decimal

import pytest

from protocols.uplink.errors import BAD_CHECKSUM, FormatError
from protocols.uplink.sl427 import (
    QUANTITIES,
    SELF_REPORT,
    Sl427Frame,
    Sl427Reader,
    address_of,
    crc8,
    encode_sl427,
    read_number,
    write_number,
)
from protocols.wire.errors import LocalError

# Reports that implementations print (hm1212/szy206-protocol, wainshine/SL651).
FLOW = bytes.fromhex("681A68B35303810D00C00059000000826110000001106000004508090A3516")
LOST = bytes.fromhex("681568B34406070001C0AAAAAAAAAA004040000000000101E516")


def only_frame(data: bytes) -> Sl427Frame:
    reader = Sl427Reader()
    reader.feed(data)
    frame = reader.next_frame()
    assert frame is not None
    assert reader.next_frame() is None
    assert reader.noise_bytes == 0
    return frame


def test_the_check_value_of_the_crc() -> None:
    assert crc8(b"123456789") == 0xF7


@pytest.mark.parametrize("data", [FLOW, LOST])
def test_a_frame_is_written_again_byte_for_byte(data: bytes) -> None:
    frame = only_frame(data)
    assert frame.is_up
    assert frame.function == SELF_REPORT
    assert encode_sl427(frame) == data


def test_a_report_of_flow_is_read_and_written() -> None:
    frame = only_frame(FLOW)
    quantity, value, rest = read_number(frame)
    assert (quantity.name, quantity.unit, value) == ("flow", "m3/s", Decimal("5.900"))
    assert rest.hex() == "826110000001106000004508090a"
    assert frame.address == address_of("530381", 13)
    written = Sl427Frame(
        0xB3, address_of("530381", 13), SELF_REPORT, write_number(quantity, value) + rest
    )
    assert encode_sl427(written) == FLOW


def test_a_number_that_was_not_measured_is_no_number() -> None:
    with pytest.raises(FormatError, match="flow: expected BCD digits, got AAAAAAAAAA"):
        read_number(only_frame(LOST))


def test_a_negative_level_has_an_f_in_its_highest_digit() -> None:
    level = QUANTITIES[2]
    assert write_number(level, Decimal("-1.5")).hex().upper() == "001500F0"
    frame = Sl427Frame(0xB2, bytes(5), SELF_REPORT, bytes.fromhex("001500F0"))
    assert read_number(frame)[1] == Decimal("-1.5")
    with pytest.raises(LocalError, match="level"):
        write_number(level, Decimal(-10000))


def test_a_damaged_frame_is_refused_and_the_next_one_found() -> None:
    damaged = bytearray(FLOW)
    damaged[9] ^= 1
    reader = Sl427Reader()
    reader.feed(bytes(damaged) + LOST)
    with pytest.raises(FormatError) as caught:
        reader.next_frame()
    assert caught.value.code == BAD_CHECKSUM
    found = []
    for _ in range(len(damaged)):
        try:
            frame = reader.next_frame()
        except FormatError:
            continue
        if frame is None:
            break
        found.append(encode_sl427(frame))
    assert found == [LOST]
    assert reader.noise_bytes == len(damaged)
