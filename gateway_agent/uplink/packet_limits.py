"""Keep what a broker sends from filling our memory or our time, before paho reads it.

paho asks for all the rest of a packet, up to 256 MB, as soon as it has read its length; it keeps
every message of QoS 2 until the broker releases it, and every answer of ours until the broker reads
it. It makes an object of each property, which takes minutes for a megabyte of them, and one of a
kilobyte for each byte of a SUBACK. We use no property of a message, so they are taken out: anyone
who may publish can send them, and the message may be a batch. Everything else that is too much
closes the connection.
"""

from collections.abc import Callable
from typing import Final, NoReturn

import aiomqtt
from paho.mqtt.client import Client as PahoClient
from paho.mqtt.client import MQTTv5
from paho.mqtt.enums import MQTTErrorCode

MAX_CONTROL_BYTES: Final = 4096  # of a packet that carries no message
MAX_UNSENT: Final = 1024  # packets of ours that the broker does not read; then it is cut off
# The fixed header of a PUBLISH: type in the high half, QoS in bits 1 and 2 (MQTT 3.1.1, 3.3.1).
_PUBLISH: Final = 0x30
_QOS: Final = 0x06
_QOS_2: Final = 0x04


def limit_packets(paho: PahoClient, max_packet: int, on_refused: Callable[[str], None]) -> None:
    """Make ``paho`` close its connection when the broker sends what would fill our memory.

    ``max_packet``: bytes of the largest message. ``on_refused`` gets the reason.
    """
    receive = paho._sock_recv
    handle = paho._handle_publish

    def refuse(reason: str) -> NoReturn:
        on_refused(reason)
        raise ConnectionError(reason)  # while it reads, paho closes the connection then

    def bounded(bufsize: int) -> bytes:
        command = paho._in_packet["command"]
        if bufsize > max_packet:
            refuse(
                f"the broker sent a packet of {bufsize} bytes, expected at most {max_packet}:"
                " give it a limit (mosquitto: max_packet_size) and see who may publish to us"
            )
        if bufsize > MAX_CONTROL_BYTES and command & 0xF0 != _PUBLISH:
            refuse(
                f"the broker sent a packet of type {command >> 4} of {bufsize} bytes, expected at"
                f" most {MAX_CONTROL_BYTES} without a message"
            )
        if len(paho._out_packet) > MAX_UNSENT:
            refuse(f"the broker sends, but does not read {MAX_UNSENT} packets that we sent")
        data = receive(bufsize)
        if command == 0 and data and data[0] & 0xF0 == _PUBLISH and data[0] & _QOS_2:
            refuse("the broker sent a message of QoS 2, expected at most 1 as subscribed")
        return data

    def checked() -> MQTTErrorCode:
        packet = paho._in_packet
        has_properties = paho._protocol == MQTTv5
        try:
            packet["packet"] = _plain(packet["packet"], packet["command"], has_properties)
        except (IndexError, ValueError) as error:
            on_refused(f"the broker sent a malformed message: {type(error).__name__}: {error}")
            return MQTTErrorCode.MQTT_ERR_PROTOCOL  # paho closes the connection
        return handle()

    paho._sock_recv = bounded  # type: ignore[method-assign] # it has no hook for this
    paho._handle_publish = checked  # type: ignore[method-assign] # nor for this


def _plain(packet: bytearray, command: int, has_properties: bool) -> bytearray:
    """Return a PUBLISH with an empty table of properties. IndexError, ValueError: malformed."""
    at = 2 + int.from_bytes(packet[:2], "big")
    aiomqtt.Topic(packet[2:at].decode())  # ValueError for what is no topic
    if command & _QOS:
        at += 2
    if not has_properties:
        if at > len(packet):
            raise IndexError("it ends within its head")
        return packet
    size, end = _variable_length(packet, at)
    if end + size > len(packet):
        raise IndexError("it ends within its properties")
    return packet[:at] + b"\x00" + packet[end + size :] if size else packet


def _variable_length(packet: bytearray, at: int) -> tuple[int, int]:
    """Return the number at ``at`` and the offset past it (MQTT 5, 1.5.5)."""
    value = 0
    for shift in (0, 7, 14, 21):
        value |= (packet[at] & 0x7F) << shift
        at += 1
        if packet[at - 1] < 0x80:
            return value, at
    raise ValueError("the length of its properties has no end")
