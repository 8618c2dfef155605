"""Noise full of the headers of the answer that is waited for: each is checked once."""

import pytest

from protocols.modbus_client import Read, RtuClient, read_request
from protocols.wire.crc import crc16
from tests.unit.protocols.uplink.test_flood import lines_of

ALL = read_request(1, Read(3, 0, 125))
PIECE = 64  # what a serial port gives at once


@pytest.mark.parametrize("unit", [b"\x01\x03\xfa", b"\x01\x83"], ids=["answers", "refusals"])
def test_each_header_is_checked_once(unit: bytes) -> None:
    client = RtuClient()
    client.send(ALL)
    flood = unit * 1000

    def feed() -> None:
        for at in range(0, len(flood), PIECE):
            assert client.feed(flood[at : at + PIECE]) is None

    # A check of 255 bytes is 510 lines; a header is three bytes.
    assert lines_of(feed) < 250 * len(flood)
    assert client.unexpected.noise_bytes > len(flood) - 1000
    answer = b"\x01\x03\xfa" + bytes(250)
    assert client.feed(answer + crc16(answer).to_bytes(2, "little")) == answer[1:]
