"""Connect to an MQTT broker as gateway and collector need it: bounded, with TLS, with retries."""

import asyncio
import errno
import logging
import re
import socket
import ssl
from collections.abc import Callable
from typing import Final, NamedTuple

import aiomqtt
from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.client import Client as PahoClient
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from gateway_agent.config_types import MqttConnection
from protocols.text_of_others import printable

from .backoff import AWAY, REFUSED
from .broker_reasons import NO_SUBSCRIBERS, Ending, ending_of
from .one_connection import ENDED, OneConnection, end_answers
from .packet_limits import limit_packets

log = logging.getLogger(__name__)

KEEPALIVE_S: Final = 30
# A broker that does not answer for this long counts as gone, even if its socket is open.
ANSWER_S: Final = 5.0
NO_PUBACK: Final = f"the broker has acknowledged no message for {ANSWER_S:g} s"
MAX_QUEUED: Final = 64  # incoming messages kept while one is worked on; more are dropped
MAX_POSTED: Final = 20  # messages without a PUBACK: what paho sends without keeping some back
_BEGUN: Final = 1  # packet of paho's queue that may be sent in part
_TCP_NOTSENT_LOWAT: Final = 25  # of Linux (tcp(7)): when a socket takes more
_UNSENT_BYTES: Final = 16 * 1024
_ASK: Final = ": is a broker there, and does it want TLS, or a certificate of ours?"
_LARGEST: Final = 268_435_460  # bytes of a packet; MQTT has none that is longer (5.0, 1.5.5)
_PUBLISH_BYTES: Final = 10  # of a PUBLISH with QoS 1 beside topic and payload, at most (5.0, 3.3)


class BrokerLimits(NamedTuple):
    """What the broker takes, by the properties of its CONNACK (MQTT 5.0, 3.2.2.3).

    The other properties there: Server Keep Alive may shorten ours. We always name our client id and
    never use a topic alias, so nothing is assigned, and no alias is accepted.
    """

    packet: int = _LARGEST  # bytes
    qos: int = 1  # the quality of service of what we send
    retain: bool = True
    unacknowledged: int = MAX_POSTED  # messages without a PUBACK

    @classmethod
    def of(cls, properties: Properties | None) -> "BrokerLimits":
        """Read a CONNACK; without properties (MQTT 3.1.1) nothing is known of limits."""
        return cls(
            getattr(properties, "MaximumPacketSize", _LARGEST),
            min(1, getattr(properties, "MaximumQoS", 1)),
            bool(getattr(properties, "RetainAvailable", 1)),
            min(MAX_POSTED, getattr(properties, "ReceiveMaximum", MAX_POSTED)),
        )


class Who(NamedTuple):
    """We, as brokers know us: the client id, and what it would mean if two clients had it."""

    identifier: str
    twins: str


class Puback(NamedTuple):
    """What the broker answers to a message: ``refusal`` is empty if it took it."""

    refusal: str = ""
    is_heard: bool = True  # somebody is subscribed to the topic, as far as the broker says
    packet: int = 0  # identifier of the message


class MessageRefused(aiomqtt.MqttError):
    """The broker did not take one message; the connection is as good as before."""


class Client(OneConnection):
    """Notices what a broker limits, refuses and gives as a reason."""

    who = Who("", "")
    dropped = 0  # messages that found the queue full
    limits = BrokerLimits()
    _ending: Ending | None = None
    _posted: "dict[int, asyncio.Future[Puback]]"  # by packet identifier

    def _on_message(self, client: PahoClient, userdata: object, message: MQTTMessage) -> None:
        if self._queue.full():  # aiomqtt would log each
            if self.dropped == 0:
                log.warning("messages come faster than they are worked on: the others are dropped")
            self.dropped += 1
            return
        super()._on_message(client, userdata, message)

    def _on_connect(
        self,
        client: PahoClient,
        userdata: object,
        flags: ConnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        self.limits = BrokerLimits.of(properties)
        # The broker's Server Keep Alive may be long, or 0 for never: then a connection that is gone
        # would stay open for ever. We may ask more often than it wants.
        client._keepalive = min(client.keepalive or KEEPALIVE_S, KEEPALIVE_S)
        if reason_code.is_failure:
            self._ending = ending_of(reason_code, properties, *self.who)
        super()._on_connect(client, userdata, flags, reason_code, properties)

    def _on_disconnect(
        self,
        client: PahoClient,
        userdata: object,
        flags: DisconnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        if flags.is_disconnect_packet_from_server and self._ending is None:
            self._ending = ending_of(reason_code, properties, *self.who)
        end_answers(self._posted.values())
        super()._on_disconnect(client, userdata, flags, reason_code, properties)

    def _on_publish(
        self,
        client: PahoClient,
        userdata: object,
        mid: int,
        reason_code: ReasonCode,
        properties: Properties,
    ) -> None:
        answer = self._posted.pop(mid, None)
        if answer is not None and not answer.done():
            refusal = str(reason_code) if reason_code.is_failure else ""
            answer.set_result(Puback(refusal, reason_code.value != NO_SUBSCRIBERS, mid))
        super()._on_publish(client, userdata, mid, reason_code, properties)

    def post(
        self, topic: str, payload: bytes, retain: bool = False, qos: int = 1
    ) -> "asyncio.Future[Puback]":
        """Publish; return what gets the broker's answer, or MqttError. MqttError: no connection.

        A broker that takes no QoS 1 gets QoS 0, and the answer is that it was written; one that
        keeps no messages is not asked to.
        """
        limits = self.limits
        qos = min(qos, limits.qos)
        info = self._client.publish(topic, payload, qos, retain and limits.retain)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise aiomqtt.MqttCodeError(info.rc, "Could not publish message")
        answer: asyncio.Future[Puback] = self._loop.create_future()
        if info.is_published() or not qos:
            answer.set_result(Puback(packet=info.mid))
        else:
            self._posted[info.mid] = answer
        return answer

    def post_first(self, topic: str, payload: bytes, retain: bool) -> "asyncio.Future[Puback]":
        """Publish as :meth:`post` does, before all packets that are not on their way yet."""
        packets = self._client._out_packet
        before = len(packets)
        answer = self.post(topic, payload, retain)
        if len(packets) > before > _BEGUN:
            packets.insert(_BEGUN, packets.pop())
        return answer

    async def answered(self, topic: str, answer: "asyncio.Future[Puback]") -> None:
        """Wait for the answer of :meth:`post`; MqttError: it does not come, MessageRefused."""
        try:
            async with asyncio.timeout(ANSWER_S):
                puback = await answer
        except TimeoutError:
            raise aiomqtt.MqttError(NO_PUBACK) from None
        if puback.refusal:
            raise MessageRefused(f"the broker refused {topic}: {puback.refusal}")

    def taken(self, message: aiomqtt.Message) -> None:
        """Acknowledge a message that was worked on: a broker keeps the next ones until then."""
        self._client.ack(message.mid, message.qos)

    def refuse(self, reason: str) -> None:
        """Note why we close this connection; the caller raises."""
        self._ending = Ending(reason, REFUSED)

    def ending(self, error: Exception) -> Ending:
        """Return why this connection ended, or was not made, with ``error``."""
        return self._ending or unexplained(error)

    def room(self, topic: str) -> int:
        """Return how many bytes a message to ``topic`` may have for this broker to take it."""
        return self.limits.packet - len(topic.encode()) - _PUBLISH_BYTES

    async def listen(self, topic: str) -> None:
        """Subscribe with QoS 1. MqttError if the broker refuses (SUBACK 0x80 and above)."""
        (answer,) = await self.subscribe(topic, qos=1)
        code = answer if isinstance(answer, int) else answer.value
        if code >= 0x80:
            raise aiomqtt.MqttError(
                f"the broker refused the subscription to {topic} ({answer}): allow this client to"
                " read that topic (mosquitto: acl_file)"
            )


def make_client(
    broker: MqttConnection,
    who: Who,
    max_packet: int,
    on_refused: Callable[[str], None],
    will: aiomqtt.Will | None = None,
    login: tuple[str, str] | None = None,
) -> Client:
    """Make a client that is not yet connected. OSError or ValueError: a TLS or password file.

    ``login``: user name and password, in the place of those that ``broker`` names.

    ``max_packet``: bytes of the largest packet wanted from the broker. MQTT 5 announces it to the
    broker; in either version :mod:`.packet_limits` enforces it.
    """
    username, password = login or (broker.username, None)
    if broker.password_file is not None and login is None:
        password = broker.password_file.read_text(encoding="utf-8-sig").strip()
    context = None
    if broker.tls is not None:
        context = ssl.create_default_context(cafile=broker.tls.ca)
        if broker.tls.cert is not None:
            context.load_cert_chain(broker.tls.cert, broker.tls.key)
    properties = None
    if broker.version == "5":
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call] # paho's own
        properties.MaximumPacketSize = max_packet
        properties.ReceiveMaximum = MAX_QUEUED
    client = Client(
        broker.host,
        broker.port,
        username=username,
        password=password,
        identifier=who.identifier,
        will=will,
        protocol=(
            aiomqtt.ProtocolVersion.V5 if properties is not None else aiomqtt.ProtocolVersion.V311
        ),
        # Nothing is asked of the broker's memory: what is not receipted is sent again.
        clean_session=None if properties is not None else True,
        clean_start=True if properties is not None else MQTT_CLEAN_START_FIRST_ONLY,
        properties=properties,
        timeout=ANSWER_S,
        keepalive=KEEPALIVE_S,
        max_queued_incoming_messages=MAX_QUEUED,
        tls_context=context,
        # Else a batch waits up to 40 ms for the peer to acknowledge the PUBACK before it.
        # What the kernel holds back cannot be overtaken; what we hold back can.
        socket_options=[
            (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
            (socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, _UNSENT_BYTES),
        ],
    )
    client.who = who
    client._posted = {}
    client._client.manual_ack_set(True)

    def refuse(reason: str) -> None:
        client.refuse(reason)
        on_refused(reason)

    limit_packets(client._client, max_packet, refuse)
    return client


def unexplained(error: Exception) -> Ending:
    """Return what is to be said of an error that no broker gave a reason for."""
    text = str(error) or type(error).__name__
    if text == "Operation timed out":  # aiomqtt's words
        text = f"no answer within {ANSWER_S:g} s{_ASK}"
    elif text == ENDED:
        text += _ASK
    else:
        text += _remedy(text)
    is_ours = isinstance(error, ValueError) or isinstance(error.__cause__, ssl.SSLError)
    return Ending(printable(text), REFUSED if is_ours else AWAY, is_known=False)


_REMEDIES: Final = {
    errno.ECONNREFUSED: "; nothing listens there: is the broker running, and is this its port?",
    errno.EHOSTUNREACH: "; no way leads there: check the address and the network",
    errno.ENETUNREACH: "; no way leads there: check the network of this machine",
}


def _remedy(text: str) -> str:
    """Return what to do about an error of the operating system; aiomqtt keeps its text only."""
    found = re.match(r"\[Errno (-?\d+)\]", text)
    number = 0 if found is None else int(found[1])
    if number < 0:  # of the resolver
        return "; the name is not known here: check it, and DNS on this machine"
    return _REMEDIES.get(number, "")
