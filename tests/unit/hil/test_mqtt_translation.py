"""Packets of MQTT 5 as MQTT 3.1.1 and back; the expected bytes are those of the two standards."""

import mqtt5
import pytest

from hil.site.mqtt_translation import (
    TranslationError,
    downgrade,
    downgrade_connect,
    packet_size,
    upgrade,
)


@pytest.mark.parametrize(
    ("packet", "data"),
    [
        (mqtt5.PublishPacket("t", b"x"), b"\x30\x04\x00\x01tx"),
        (mqtt5.PubAckPacket(258), b"\x40\x02\x01\x02"),
        (mqtt5.PubRecPacket(258), b"\x50\x02\x01\x02"),
        (mqtt5.PubRelPacket(258), b"\x62\x02\x01\x02"),
        (mqtt5.PubCompPacket(258), b"\x70\x02\x01\x02"),
        (mqtt5.PingReqPacket(), b"\xc0\x00"),
        (mqtt5.DisconnectPacket(), b"\xe0\x00"),
    ],
)
def test_a_packet_of_a_client(packet: mqtt5.Packet, data: bytes) -> None:
    assert downgrade(packet) == data


def test_a_client_that_wants_its_will_sent_just_ends() -> None:
    reason = mqtt5.DisconnectReasonCode.DISCONNECT_WITH_WILL_MESSAGE
    assert downgrade(mqtt5.DisconnectPacket(reason_code=reason)) == b""


@pytest.mark.parametrize(
    ("packet", "problem"),
    [
        (mqtt5.PublishPacket("t", b"", topic_alias=1), "topic alias used"),
        (mqtt5.PingRespPacket(), "unexpected PingRespPacket from a client"),
        (mqtt5.AuthPacket(), "unexpected AuthPacket from a client"),
    ],
)
def test_what_no_client_may_send(packet: mqtt5.Packet, problem: str) -> None:
    with pytest.raises(TranslationError, match=problem):
        downgrade(packet)


@pytest.mark.parametrize(
    ("options", "flags", "rest"),
    [
        ({"clean_start": True}, 0x02, b""),
        ({"clean_start": False, "session_expiry_interval": 0}, 0x02, b""),
        ({"clean_start": False, "session_expiry_interval": 60}, 0x00, b""),
        (
            {"session_expiry_interval": 60, "username": "u", "password": b"p"},
            0xC0,
            b"\x00\x01u\x00\x01p",
        ),
        (
            {"clean_start": True, "will": mqtt5.Will("w", payload=b"gone", qos=mqtt5.QoS(1))},
            0x0E,
            b"\x00\x01w\x00\x04gone",
        ),
    ],
)
def test_connect_keeps_session_will_and_login(
    options: dict[str, object], flags: int, rest: bytes
) -> None:
    packet = mqtt5.ConnectPacket("g", keep_alive=30, **options)  # type: ignore[arg-type] # of one case
    body = b"\x00\x04MQTT\x04" + bytes((flags,)) + b"\x00\x1e" + b"\x00\x01g" + rest
    assert downgrade_connect(packet, "g") == bytes((0x10, len(body))) + body


@pytest.mark.parametrize(
    ("data", "packet"),
    [
        (b"\x40\x02\x01\x02", mqtt5.PubAckPacket(258)),
        (b"\x50\x02\x01\x02", mqtt5.PubRecPacket(258)),
        (b"\x62\x02\x01\x02", mqtt5.PubRelPacket(258)),
        (b"\x70\x02\x01\x02", mqtt5.PubCompPacket(258)),
        (b"\xd0\x00", mqtt5.PingRespPacket()),
        (b"\x30\x04\x00\x01tx", mqtt5.PublishPacket("t", b"x")),
    ],
)
async def test_a_packet_of_the_broker(data: bytes, packet: mqtt5.Packet) -> None:
    seen, size = mqtt5.read(memoryview(await upgrade(data, None, {})))
    assert seen == packet
    assert size == len(packet.write())


async def test_a_broker_that_refuses_the_login() -> None:
    seen, _ = mqtt5.read(memoryview(await upgrade(b"\x20\x02\x00\x04", "made", {})))
    assert isinstance(seen, mqtt5.ConnAckPacket)
    assert seen.reason_code is mqtt5.ConnAckReasonCode.BAD_USER_NAME_OR_PASSWORD
    assert seen.assigned_client_id == "made"


async def test_a_packet_that_no_broker_sends() -> None:
    with pytest.raises(TranslationError, match="broker sent a PingReqPacket"):
        await upgrade(b"\xc0\x00", None, {})


def test_the_length_of_a_packet() -> None:
    # 321 is 0x41 + 2 * 128, the example of MQTT 5, 1.5.5 with two bytes of length.
    assert packet_size(b"\x30\xc1\x02") == 3 + 321
    assert packet_size(b"\x30\xff\xff\xff\x7f") == 5 + 268_435_455
    assert packet_size(b"\x30") is None
    assert packet_size(b"\x30\x80\x80\x80") is None
    with pytest.raises(TranslationError, match="at most 4 bytes"):
        packet_size(b"\x30\x80\x80\x80\x80\x01")
