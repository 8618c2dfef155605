"""A broker that sends more than was asked for: nothing of it may be kept."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest
from paho.mqtt.client import ConnectFlags, MQTTMessage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from gateway_agent.config import MqttUplink
from gateway_agent.uplink.connection import Who, make_client
from tests.integration.uplink_help import Site
from tests.promise.site import until

ANNOUNCED = 200_000_000
ENOUGH = 16 << 20  # far above what the buffers of two sockets hold


class Flood:
    """Speaks just enough MQTT to have a subscriber, then sends it what it does not want."""

    granted: ClassVar = {"3.1.1": b"\x01", "5": b"\x01"}  # the reason code of its SUBACK

    def __init__(self, version: str) -> None:
        self.version = version
        self.properties = b"\x00" if version == "5" else b""  # an empty table
        self.sent = 0
        self.cut_off = 0  # connections the client has closed on us

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._packet(reader)  # CONNECT
            writer.write(self._answer(0x20, b"\x00\x00" + self.properties))
            subscribe = await self._packet(reader)
            writer.write(
                self._answer(0x90, subscribe[:2] + self.properties + self.granted[self.version])
            )
            for data in self.packets():
                writer.write(data)
                await writer.drain()
                self.sent += len(data)
                if self.sent >= ENOUGH:
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            self.cut_off += 1
        finally:
            writer.transport.abort()

    def packets(self) -> Iterator[bytes]:
        """One endless PUBLISH."""
        yield b"\x30" + length(ANNOUNCED)
        while True:
            yield bytes(65536)

    def publish(self, qos: int, number: int, payload: bytes) -> bytes:
        """A whole PUBLISH (MQTT 3.1.1, 3.3)."""
        topic = b"tianfu/gw-1/receipt/1"
        body = len(topic).to_bytes(2, "big") + topic + (number % 65535 + 1).to_bytes(2, "big")
        body += self.properties + payload
        return bytes((0x30 | qos << 1,)) + length(len(body)) + body

    async def _packet(self, reader: asyncio.StreamReader) -> bytes:
        """The body of a short packet."""
        _, size = await reader.readexactly(2)
        assert size < 128
        return await reader.readexactly(size)

    def _answer(self, kind: int, body: bytes) -> bytes:
        return bytes((kind, len(body))) + body


def length(value: int) -> bytes:
    """A remaining length (MQTT 3.1.1, 2.2.3)."""
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes(found) + bytes((value,))


class Refusing(Flood):
    """Lets nobody read a topic (MQTT 3.1.1, 3.9.3; MQTT 5, 3.9.3: not authorized)."""

    granted: ClassVar = {"3.1.1": b"\x80", "5": b"\x87"}

    def packets(self) -> Iterator[bytes]:
        return iter(())


class NeverReleased(Flood):
    """Messages of QoS 2, each of which a client has to keep until it is released."""

    def packets(self) -> Iterator[bytes]:
        for number in itertools.count():
            yield self.publish(2, number, bytes(8192))


class Malformed(Flood):
    """One message on a topic that is none, and answers to pings behind it."""

    def packets(self) -> Iterator[bytes]:
        topic = b"tianfu/\xff/receipt/1"
        body = len(topic).to_bytes(2, "big") + topic + self.properties + b"x"
        yield b"\x30" + length(len(body)) + body
        while True:
            yield b"\xd0\x00" * 5000


class ManyCodes(Flood):
    """SUBACKs of nearly a megabyte, each byte of which would be an object."""

    def packets(self) -> Iterator[bytes]:
        body = b"\x00\x63" + self.properties + b"\x00" * 1_000_000
        while True:
            yield b"\x90" + length(len(body)) + body


class ManyProperties(Flood):
    """One message with a megabyte of user properties (MQTT 5, 3.3.2.3.7)."""

    def packets(self) -> Iterator[bytes]:
        properties = b"\x26\x00\x02aa\x00\x02bb" * 110_000
        topic = b"tianfu/gw-1/batch/1"
        body = len(topic).to_bytes(2, "big") + topic + length(len(properties)) + properties + b"x"
        yield b"\x30" + length(len(body)) + body


@asynccontextmanager
async def flooding(version: str, kind: type[Flood] = Flood) -> AsyncIterator[tuple[Flood, int]]:
    """The flood and its port."""
    flood = kind(version)
    server = await asyncio.start_server(flood.serve, "127.0.0.1", 0)
    async with server:
        yield flood, server.sockets[0].getsockname()[1]


@pytest.mark.parametrize("version", ["3.1.1", "5"])
async def test_a_packet_no_receipt_can_be_is_not_read(tmp_path: Path, version: str) -> None:
    async with flooding(version) as (flood, port):
        site = Site(tmp_path, port)
        async with site.outbox() as outbox, site.uplink(outbox, version=version) as uplink:
            await until(lambda: flood.cut_off or flood.sent >= ENOUGH, "an end of it")
            assert flood.sent < ENOUGH
            await until(lambda: "200000000 bytes" in uplink.problem, "the reason")
            assert "expected at most 16384" in uplink.problem
            assert site.counters.packets_refused >= 1


async def test_a_packet_no_batch_can_be_is_not_read(tmp_path: Path) -> None:
    async with flooding("3.1.1") as (flood, port):
        site = Site(tmp_path, port)
        async with site.collector(version="3.1.1") as service:
            await until(lambda: flood.cut_off or flood.sent >= ENOUGH, "an end of it")
            assert flood.sent < ENOUGH
            assert service.packets_refused >= 1


@pytest.mark.parametrize("version", ["3.1.1", "5"])
async def test_a_message_of_a_quality_nobody_asked_for_is_not_kept(
    tmp_path: Path, version: str
) -> None:
    async with flooding(version, NeverReleased) as (flood, port):
        site = Site(tmp_path, port)
        async with site.outbox() as outbox, site.uplink(outbox, version=version) as uplink:
            await until(lambda: flood.cut_off or flood.sent >= ENOUGH, "an end of it")
            assert flood.sent < ENOUGH
            await until(lambda: "QoS 2" in uplink.problem, "the reason")
            assert site.counters.packets_refused >= 1


async def test_a_batch_of_a_quality_nobody_asked_for_is_not_kept(tmp_path: Path) -> None:
    async with flooding("3.1.1", NeverReleased) as (flood, port):
        site = Site(tmp_path, port)
        async with site.collector(version="3.1.1") as service:
            await until(lambda: flood.cut_off or flood.sent >= ENOUGH, "an end of it")
            assert flood.sent < ENOUGH
            assert service.packets_refused >= 1


async def test_answers_that_a_broker_does_not_read_are_not_kept() -> None:
    """The kernel takes a million of them before paho keeps the first, so they are put there."""
    reasons: list[str] = []
    client = make_client(
        MqttUplink(host="127.0.0.1", port=1), Who("gw-1", ""), 16384, reasons.append
    )
    paho = client._client
    packet = {"command": 0x40, "mid": 1, "qos": 0, "pos": 0, "to_process": 4, "packet": bytes(4)}
    paho._out_packet.extend(cast("Any", packet) for _ in range(1025))
    with pytest.raises(ConnectionError, match="does not read"):
        paho._sock_recv(1)
    assert len(reasons) == 1


@pytest.mark.parametrize("version", ["3.1.1", "5"])
async def test_a_refused_subscription_is_a_connection_that_is_down(
    tmp_path: Path, version: str
) -> None:
    """Without it no receipt can come: records would wait for ever behind a green status."""
    async with flooding(version, Refusing) as (_, port):
        site = Site(tmp_path, port)
        async with site.outbox() as outbox, site.uplink(outbox, version=version) as uplink:
            await until(lambda: "refused the subscription" in uplink.problem, "the reason")
            assert "tianfu/gw-1/receipt/" in uplink.problem
            assert not uplink.connected
            assert site.counters.connects == 0


@pytest.mark.parametrize("version", ["3.1.1", "5"])
async def test_a_malformed_message_ends_its_connection_only(tmp_path: Path, version: str) -> None:
    """The socket is closed: left open, its reader would be called for ever."""
    async with flooding(version, Malformed) as (flood, port):
        site = Site(tmp_path, port)
        async with site.collector(version=version) as service:
            await until(lambda: flood.cut_off, "the socket to be closed")
            await until(lambda: "malformed" in service.snapshot().problem, "the reason")


async def test_answers_that_nobody_asked_for_are_not_read(tmp_path: Path) -> None:
    async with flooding("3.1.1", ManyCodes) as (flood, port):
        site = Site(tmp_path, port)
        async with site.collector(version="3.1.1") as service:
            await until(lambda: flood.cut_off or flood.sent >= ENOUGH, "an end of it")
            assert flood.sent < ENOUGH
            await until(lambda: "packet of type 9" in service.snapshot().problem, "the reason")


async def test_properties_of_a_message_cost_nothing(tmp_path: Path) -> None:
    """Anyone who may publish can send a megabyte of them, which paho reads for a minute."""
    async with flooding("5", ManyProperties) as (_, port):
        site = Site(tmp_path, port)
        async with site.collector() as service:
            await until(lambda: service.snapshot().messages, "the message to be judged")
            assert service.snapshot().messages == {"malformed": 1}
            assert service.packets_refused == 0


async def test_a_broker_cannot_make_us_wait_for_ever() -> None:
    """With a keep-alive of 0 a connection that is gone would look like one that is idle."""
    client = make_client(MqttUplink(host="127.0.0.1", port=1), Who("gw-1", ""), 16384, print)
    flags = ConnectFlags(session_present=False)
    for offered, used in ((0, 30), (7, 7), (65535, 30)):
        client._client._keepalive = offered
        client._on_connect(client._client, None, flags, ReasonCode(PacketTypes.CONNACK))
        assert client._client.keepalive == used


async def test_messages_beyond_the_queue_are_dropped_in_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = make_client(MqttUplink(host="127.0.0.1", port=1), Who("gw-1", ""), 16384, print)
    for _ in range(100):
        client._on_message(client._client, None, MQTTMessage(topic=b"tianfu/gw-1/receipt/1"))
    assert len(client.messages) == 64
    assert client.dropped == 36
    assert len(caplog.records) == 1
