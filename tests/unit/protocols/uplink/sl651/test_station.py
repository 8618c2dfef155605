"""A station against a centre that is written here from the frames alone, without the codec."""

from datetime import UTC, datetime

import pytest

from protocols.uplink.sl651 import Station, StationSettings
from protocols.uplink.station import Asked, Confirmed, NotConfirmed, Unreadable
from protocols.wire.errors import LocalError

#: 2017-07-18 11:00:16 in Beijing.
SENT = datetime(2017, 7, 18, 3, 0, 16, tzinfo=UTC)
SETTINGS = StationSettings(
    centre=5, station=bytes.fromhex("0011223344"), password=b"\x03\xe8", answer_ms=1000
)
# A report that was seen, serial 0034, and what its centre confirmed it with.
REPORT = bytes.fromhex(
    "7E7E05001122334403E832002B020034170718110016F1F1001122334448F0F01707181100"
    "201900004026190000403923000104903812109903A421"
)
AFTER_TIME = REPORT[22:-3]
CONFIRMED = bytes.fromhex("7E7E00112233440503E83280080200341707181100161BE5D4")


def crc_modbus(data: bytes) -> bytes:
    """CRC-16/MODBUS bit by bit, the high byte first."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc.to_bytes(2)


def down(function: int, serial: int, end: int, more: bytes = b"") -> bytes:
    """Return a frame of the centre to the station of SETTINGS."""
    body = serial.to_bytes(2) + bytes.fromhex("170718110016") + more
    data = bytes.fromhex("7E7E00112233440503E8") + bytes((function, 0x80, len(body), 2))
    data += body + bytes((end,))
    return data + crc_modbus(data)


def sent_report(station: Station) -> bytes:
    serial, events = station.send(0x32, AFTER_TIME, SENT, 0)
    assert (serial, events) == (0x34, [])
    return station.outgoing()


def test_a_report_is_sent_as_it_was_seen_and_confirmed_once() -> None:
    station = Station(SETTINGS, 0x34, 0)
    assert sent_report(station) == REPORT
    assert not station.is_idle()
    assert station.receive(CONFIRMED[:20], 10) == []
    assert station.receive(CONFIRMED[20:], 11) == [Confirmed(0x34)]
    assert station.is_idle()
    assert station.receive(CONFIRMED, 12) == [], "a confirmation that comes twice means nothing"
    assert station.outgoing() == b""
    assert station.next_serial == 0x35


def test_what_nobody_confirms_goes_three_times_and_is_given_up() -> None:
    station = Station(SETTINGS, 0x34, 0)
    sent_report(station)
    assert station.tick(999) == []
    assert station.outgoing() == b""
    for at in (1000, 2000):
        assert station.deadline_ms() == at
        assert station.tick(at) == []
        assert station.outgoing() == REPORT, "the same bytes: the same serial number"
    assert station.tick(3000) == [NotConfirmed(0x34)]
    assert station.outgoing() == b""
    assert station.is_idle()


def test_the_confirmation_of_another_message_confirms_nothing() -> None:
    station = Station(SETTINGS, 0x34, 0)
    sent_report(station)
    assert station.receive(down(0x32, 0x33, 0x1B) + down(0x33, 0x34, 0x1B), 5) == []
    assert not station.is_idle()
    assert station.receive(down(0x32, 0x34, 0x04), 6) == [Confirmed(0x34)]


def test_a_refusal_sends_at_once_again_and_counts() -> None:
    station = Station(SETTINGS, 0x34, 0)
    sent_report(station)
    for at in (10, 20):
        assert station.receive(down(0x32, 0x34, 0x15), at) == []
        assert station.outgoing() == REPORT
    assert station.receive(down(0x32, 0x34, 0x15), 30) == [NotConfirmed(0x34)]


def test_one_message_at_a_time() -> None:
    station = Station(SETTINGS, 0x34, 0)
    sent_report(station)
    with pytest.raises(LocalError, match="the confirmation of the one before"):
        station.send(0x32, AFTER_TIME, SENT, 1)


def test_serial_numbers_go_from_65535_to_1() -> None:
    settings = StationSettings(5, SETTINGS.station, is_confirmed=False)
    station = Station(settings, 0xFFFF, 0)
    assert station.send(0x32, b"", SENT, 0) == (0xFFFF, [Confirmed(0xFFFF)]), "M1 waits for nothing"
    assert station.send(0x32, b"", SENT, 0) == (1, [Confirmed(1)])


def test_a_quiet_line_is_kept_alive() -> None:
    # Seen: keep-alive of station 0012345678, centre 1, password 1234, serial 3.
    seen = bytes.fromhex("7E7E01001234567812342F0008020003591011155111036BCA")
    settings = StationSettings(1, bytes.fromhex("0012345678"), b"\x12\x34", keep_alive_ms=40_000)
    station = Station(settings, 3, 0)
    moment = datetime(2059, 10, 11, 7, 51, 11, tzinfo=UTC)
    assert not station.keep_alive(moment, 39_999)
    assert station.keep_alive(moment, 40_000)
    assert station.outgoing() == seen
    assert station.deadline_ms() == 80_000


def test_a_long_body_goes_in_packets_and_is_confirmed_once() -> None:
    settings = StationSettings(5, SETTINGS.station, b"\x03\xe8", answer_ms=1000, packet_bytes=100)
    station = Station(settings, 0x34, 0)
    after_time = b"\xf3\xf3" + bytes(range(250))
    station.send(0x36, after_time, SENT, 0)
    data = station.outgoing()
    body = b""
    for number, size, end in ((1, 100, 0x17), (2, 100, 0x17), (3, 60, 0x03)):
        length = size + 3
        packet, data = data[: 17 + length], data[17 + length :]
        assert packet[11:17] == length.to_bytes(2) + bytes((0x16, 0x00, 0x30, number))
        assert packet[-3] == end
        assert packet[-2:] == crc_modbus(packet[:-2])
        body += packet[17:-3]
    assert data == b""
    assert body[8:] == after_time
    assert station.receive(down(0x36, 0x34, 0x04), 5) == [Confirmed(0x34)]


def test_what_the_centre_asks_is_answered_with_its_serial_number() -> None:
    station = Station(SETTINGS, 0x34, 0)
    (asked,) = station.receive(down(0x51, 0, 0x05, b"\xf1\xf1" + SETTINGS.station), 0)
    assert isinstance(asked, Asked)
    assert (asked.function, asked.serial, asked.body.hex()) == (0x51, 0, "f1f10011223344")
    station.answer(asked, b"\xf1\xf1" + SETTINGS.station, SENT, 0)
    answer = station.outgoing()
    assert answer[10] == 0x51
    assert answer[14:22] == bytes.fromhex("0000170718110016")
    assert station.next_serial == 0x34


def test_frames_for_others_and_noise_are_named_and_end_the_connection() -> None:
    station = Station(SETTINGS, 0x34, 0)
    other = bytearray(down(0x32, 0x34, 0x04))
    other[6] = 0x45
    other[-2:] = crc_modbus(bytes(other[:-2]))
    (event,) = station.receive(bytes(other), 0)
    assert isinstance(event, Unreadable)
    assert "expected a frame down to station 0011223344, got down, 0011223345" in str(event.error)
    assert not event.is_too_much
    good = down(0x32, 0x99, 0x04)
    assert station.receive(good, 0) == [], "a frame that can be read begins the count again"
    events = station.receive(bytes(other) * 20, 0)
    assert len(events) == 8, "and no more work after that"
    assert [isinstance(event, Unreadable) and event.is_too_much for event in events] == [
        *[False] * 7,
        True,
    ]
