"""One MQTT connection, as gateway and collector need it: bounded, with TLS, failures explained."""

import asyncio
import random
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Protocol

import aiomqtt
from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY
from paho.mqtt.client import Client as PahoClient
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

KEEPALIVE_S: Final = 30
# A broker that does not answer for this long is gone, whatever the socket says.
ANSWER_S: Final = 5.0
MAX_QUEUED: Final = 64  # incoming messages kept while one is worked on; more are dropped
BACKOFF_S: Final = (0.5, 60.0)  # first and longest wait between attempts


class TlsFiles(Protocol):
    """The ``[...tls]`` table of either configuration."""

    @property
    def ca(self) -> Path:
        """Certificates that may vouch for the broker."""

    @property
    def cert(self) -> Path | None:
        """Our own certificate chain."""

    @property
    def key(self) -> Path | None:
        """Its private key."""


class Broker(Protocol):
    """Where and how to connect; ``version`` is "5" or "3.1.1"."""

    @property
    def host(self) -> str:
        """Name or address."""

    @property
    def port(self) -> int:
        """TCP port."""

    @property
    def version(self) -> str:
        """MQTT version."""

    @property
    def tls(self) -> TlsFiles | None:
        """None: no TLS."""

    @property
    def username(self) -> str | None:
        """None: anonymous, or by certificate."""

    @property
    def password_file(self) -> Path | None:
        """Read at every connection, so that a password can be changed while running."""


class Client(aiomqtt.Client):
    """aiomqtt's client, which also notices when a broker acknowledges with a refusal (MQTT 5)."""

    refused = ""

    def _on_publish(
        self,
        client: PahoClient,
        userdata: object,
        mid: int,
        reason_code: ReasonCode,
        properties: Properties,
    ) -> None:
        if reason_code.is_failure:
            self.refused = str(reason_code)
        super()._on_publish(client, userdata, mid, reason_code, properties)

    async def send(self, topic: str, payload: bytes, retain: bool = False) -> None:
        """Publish with QoS 1 and wait for the PUBACK; MqttError if there is none, or a refusal."""
        self.refused = ""
        await self.publish(topic, payload, qos=1, retain=retain)
        if self.refused:
            raise aiomqtt.MqttError(f"the broker refused {topic}: {self.refused}")

    def limit(self, max_packet: int, on_too_long: Callable[[str], None]) -> None:
        """Close the connection when a packet longer than ``max_packet`` bytes is announced.

        paho asks for all the rest of a packet, up to 256 MB, as soon as it knows its length: there,
        before a byte of it is read, is where it has to be stopped. ``on_too_long`` is told why.
        """
        receive = self._client._sock_recv

        def bounded(bufsize: int) -> bytes:
            if bufsize > max_packet:
                reason = (
                    f"the broker sent a packet of {bufsize} bytes, expected at most {max_packet}:"
                    " give it a limit (mosquitto: max_packet_size) and see who may publish to us"
                )
                on_too_long(reason)
                raise ConnectionError(reason)  # paho closes the connection
            return receive(bufsize)

        self._client._sock_recv = bounded  # type: ignore[method-assign] # it has no hook for this


def make_client(
    broker: Broker, identifier: str, max_packet: int, on_too_long: Callable[[str], None]
) -> Client:
    """A client, not yet connected. OSError or ValueError: a file for TLS or the password.

    ``max_packet``: bytes of the largest packet wanted from the broker. MQTT 5 tells it so; in
    either version :meth:`Client.limit` sees to it.
    """
    password = None
    if broker.password_file is not None:
        password = broker.password_file.read_text(encoding="utf-8").strip()
    context = None
    if broker.tls is not None:
        context = ssl.create_default_context(cafile=broker.tls.ca)
        if broker.tls.cert is not None:
            context.load_cert_chain(broker.tls.cert, broker.tls.key)
    properties = None
    if broker.version == "5":
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call] # paho's own
        properties.MaximumPacketSize = max_packet
    client = Client(
        broker.host,
        broker.port,
        username=broker.username,
        password=password,
        identifier=identifier,
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
    )
    client.limit(max_packet, on_too_long)
    return client


class Backoff:
    """Waits between attempts: doubling, with jitter so that a fleet does not come back at once."""

    def __init__(
        self,
        first_s: float = BACKOFF_S[0],
        longest_s: float = BACKOFF_S[1],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._sleep = sleep
        self._first = first_s
        self._longest = longest_s
        self._next = first_s

    def reset(self) -> None:
        """It works again."""
        self._next = self._first

    def next_s(self) -> float:
        """Seconds to wait now."""
        wait = random.uniform(self._next / 2, self._next)
        self._next = min(2 * self._next, self._longest)
        return wait

    async def wait(self) -> None:
        """Wait for the next attempt."""
        await self._sleep(self.next_s())
