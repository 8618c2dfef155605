"""Translate packets of MQTT 5 to packets of MQTT 3.1.1, and back. No I/O, no state.

What 3.1.1 has no field for is dropped; hil/site/broker.py lists it. Packet identifiers stay the
same.
"""

from __future__ import annotations

import mqtt5
from amqtt.adapters import BufferReader
from amqtt.mqtt import packet_class
from amqtt.mqtt.connack import ConnackPacket
from amqtt.mqtt.connect import ConnectPacket, ConnectPayload, ConnectVariableHeader
from amqtt.mqtt.disconnect import DisconnectPacket
from amqtt.mqtt.packet import MQTTFixedHeader
from amqtt.mqtt.pingreq import PingReqPacket
from amqtt.mqtt.pingresp import PingRespPacket
from amqtt.mqtt.puback import PubackPacket
from amqtt.mqtt.pubcomp import PubcompPacket
from amqtt.mqtt.publish import PublishPacket
from amqtt.mqtt.pubrec import PubrecPacket
from amqtt.mqtt.pubrel import PubrelPacket
from amqtt.mqtt.suback import SubackPacket
from amqtt.mqtt.subscribe import SubscribePacket
from amqtt.mqtt.unsuback import UnsubackPacket
from amqtt.mqtt.unsubscribe import UnsubscribePacket

from hil.errors import HilError

# Above the largest batch plus its topic; announced to clients, and nothing larger is buffered.
MAX_PACKET = 2 * 1024 * 1024

# CONNACK return codes of 3.1.1 (table 3.1) as reason codes of 5 (table 3-1).
_CONNACK = {
    0: mqtt5.ConnAckReasonCode.SUCCESS,
    1: mqtt5.ConnAckReasonCode.UNSUPPORTED_PROTOCOL_VERSION,
    2: mqtt5.ConnAckReasonCode.CLIENT_ID_NOT_VALID,
    3: mqtt5.ConnAckReasonCode.SERVER_UNAVAILABLE,
    4: mqtt5.ConnAckReasonCode.BAD_USER_NAME_OR_PASSWORD,
    5: mqtt5.ConnAckReasonCode.NOT_AUTHORIZED,
}


class TranslationError(HilError):
    """A client broke MQTT 5; its connection is closed."""


def packet_size(buffer: bytes | bytearray) -> int | None:
    """Return the length of the first packet in the buffer, None if it is not known yet."""
    value = 0
    for index, byte in enumerate(buffer[1:5]):
        value |= (byte & 0x7F) << (7 * index)
        if not byte & 0x80:
            return index + 2 + value
    if len(buffer) > 4:
        raise TranslationError("packet length: expected at most 4 bytes (MQTT 5, 1.5.5)")
    return None


def downgrade(packet: mqtt5.Packet) -> bytes:
    """Return a client's packet in MQTT 3.1.1. TranslationError for one that no client may send."""
    match packet:
        case mqtt5.PublishPacket():
            if packet.topic_alias is not None:
                raise TranslationError("topic alias used although CONNACK offered none")
            old = PublishPacket.build(
                packet.topic,
                packet.payload,
                packet.packet_id,
                packet.duplicate,
                int(packet.qos),
                packet.retain,
            )
            return bytes(old.to_bytes())
        case mqtt5.PubAckPacket():
            return bytes(PubackPacket.build(packet.packet_id).to_bytes())
        case mqtt5.PubRecPacket():
            return bytes(PubrecPacket.build(packet.packet_id).to_bytes())
        case mqtt5.PubRelPacket():
            return bytes(PubrelPacket.build(packet.packet_id).to_bytes())
        case mqtt5.PubCompPacket():
            return bytes(PubcompPacket.build(packet.packet_id).to_bytes())
        case mqtt5.SubscribePacket():
            topics = [(f.pattern, int(f.max_qos)) for f in packet.topic_filters]
            return bytes(SubscribePacket.build(topics, packet.packet_id).to_bytes())
        case mqtt5.UnsubscribePacket():
            return bytes(UnsubscribePacket.build(packet.patterns, packet.packet_id).to_bytes())
        case mqtt5.PingReqPacket():
            return bytes(PingReqPacket().to_bytes())
        case mqtt5.DisconnectPacket():
            if packet.reason_code == mqtt5.DisconnectReasonCode.DISCONNECT_WITH_WILL_MESSAGE:
                return b""  # 3.1.1 sends the will when the connection just ends
            return bytes(DisconnectPacket().to_bytes())
        case _:
            raise TranslationError(f"unexpected {type(packet).__name__} from a client")


def downgrade_connect(packet: mqtt5.ConnectPacket, client_id: str) -> bytes:
    """Return a CONNECT in MQTT 3.1.1.

    The broker keeps the session if it is neither clean nor expires at once.
    """
    header = ConnectVariableHeader(keep_alive=packet.keep_alive)
    header.clean_session_flag = packet.clean_start or packet.session_expiry_interval == 0
    payload = ConnectPayload(client_id=client_id)
    if packet.will is not None:
        header.will_flag = True
        header.will_qos = int(packet.will.qos)
        header.will_retain_flag = packet.will.retain
        payload.will_topic = packet.will.topic
        payload.will_message = packet.will.payload or b""
    if packet.username is not None:
        header.username_flag = True
        payload.username = packet.username
    if packet.password is not None:
        header.password_flag = True
        payload.password = packet.password.decode("utf-8", "replace")
    return bytes(ConnectPacket(variable_header=header, payload=payload).to_bytes())


async def upgrade(data: bytes, assigned_id: str | None, unsubscribed: dict[int, int]) -> bytes:
    """Return one whole packet of the broker in MQTT 5. TranslationError for a packet of a client.

    ``assigned_id`` goes into CONNACK. ``unsubscribed`` holds how many filters each open
    UNSUBSCRIBE named, by packet identifier: 3.1.1 acknowledges them as one.
    """
    reader = BufferReader(data)
    header = await MQTTFixedHeader.from_stream(reader)
    assert header is not None
    old = await packet_class(header).from_stream(reader, fixed_header=header)
    match old:
        case ConnackPacket():
            return mqtt5.ConnAckPacket(
                session_present=bool(old.session_parent),
                reason_code=_CONNACK[old.return_code or 0],
                assigned_client_id=assigned_id,
                max_packet_size=MAX_PACKET,
                subscription_id_available=False,
                shared_subscription_available=False,
            ).write()
        case PublishPacket():
            return mqtt5.PublishPacket(
                old.topic_name or "",
                bytes(old.data or b""),
                qos=mqtt5.QoS(old.qos or 0),
                retain=old.retain_flag,
                packet_id=old.packet_id,
                duplicate=old.dup_flag,
            ).write()
        case PubackPacket():
            return mqtt5.PubAckPacket(old.packet_id).write()
        case PubrecPacket():
            return mqtt5.PubRecPacket(old.packet_id).write()
        case PubrelPacket():
            return mqtt5.PubRelPacket(old.packet_id).write()
        case PubcompPacket():
            return mqtt5.PubCompPacket(old.packet_id).write()
        case SubackPacket():
            codes = [mqtt5.SubAckReasonCode(c) for c in old.payload.return_codes]
            return mqtt5.SubAckPacket(old.variable_header.packet_id, codes).write()
        case UnsubackPacket():
            identity = old.variable_header.packet_id
            done = [mqtt5.UnsubAckReasonCode.SUCCESS] * unsubscribed.pop(identity, 1)
            return mqtt5.UnsubAckPacket(identity, done).write()
        case PingRespPacket():
            return mqtt5.PingRespPacket().write()
    raise TranslationError(f"the broker sent a {type(old).__name__}, which has no MQTT 5 form")
