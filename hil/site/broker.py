"""An MQTT 5 broker inside this process: amqtt behind a translator to MQTT 5.

amqtt refuses protocol level 5, so a client's packets are decoded here with the `mqtt5` codec and
handed to amqtt as MQTT 3.1.1 packets, and back. See docs/decisions/0002-embedded-broker.md.

It carries CONNECT with will and credentials, PUBLISH at QoS 0 to 2, (UN)SUBSCRIBE, PING,
DISCONNECT, and sessions that outlive a connection. It drops what 3.1.1 has no field for: user
properties, content type, message expiry, response topic, correlation data, no-local and retain
handling of subscriptions, reason strings. Its CONNACK offers no topic aliases, no subscription
identifiers and no shared subscriptions.

For a first look and for tests: no TLS, no passwords, nothing on disk, loopback only.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import ssl
from contextlib import suppress
from typing import Self

import mqtt5
from amqtt.adapters import StreamReaderAdapter, WriterAdapter
from amqtt.broker import Broker
from amqtt.contexts import BrokerConfig, ListenerConfig, ListenerType

from hil.site.mqtt_translation import (
    MAX_PACKET,
    TranslationError,
    downgrade,
    downgrade_connect,
    packet_size,
    upgrade,
)

_CONNECT_TIMEOUT_S = 5.0
_CONNECT = b"\x10"
_LISTENER = "default"


class _Upgrader(WriterAdapter):  # type: ignore[misc]  # amqtt has no type information
    """Send the 3.1.1 packets that amqtt writes for one client to its socket as MQTT 5."""

    def __init__(self, writer: asyncio.StreamWriter, assigned_id: str | None) -> None:
        self._writer = writer
        self._assigned_id = assigned_id
        self._pending = bytearray()
        self.unsubscribed: dict[int, int] = {}

    def write(self, data: bytes) -> None:
        self._pending += data

    async def drain(self) -> None:
        data, self._pending = bytes(self._pending), bytearray()
        while data:
            size = packet_size(data)
            assert size is not None
            self._writer.write(await upgrade(data[:size], self._assigned_id, self.unsubscribed))
            data = data[size:]
        with suppress(ConnectionError):
            await self._writer.drain()

    def get_peer_info(self) -> tuple[str, int] | None:
        peer = self._writer.get_extra_info("peername")
        return (peer[0], peer[1]) if peer else None

    def get_ssl_info(self) -> ssl.SSLObject | None:
        return None

    async def close(self) -> None:
        with suppress(ConnectionError):
            await self.drain()
        self._writer.close()


class EmbeddedBroker:
    """An MQTT 5 broker on 127.0.0.1; ``port`` is known after :meth:`start`.

    :meth:`stop` forgets everything; a broker started again on the same object listens on the same
    port and is empty. ``connections`` and ``rejected`` count clients.
    """

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.connections = 0
        self.rejected = 0
        self._broker: Broker | None = None
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen; OSError if the port is taken."""
        for name in ("amqtt", "transitions"):
            logging.getLogger(name).setLevel(logging.ERROR)
        config = BrokerConfig(
            listeners={_LISTENER: ListenerConfig(type=ListenerType.EXTERNAL)},
            plugins={"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        )
        self._broker = Broker(config)
        await self._broker.start()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close every connection and forget sessions, subscriptions and retained messages."""
        if self._server is not None:
            self._server.close()
        for task in self._clients:
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        if self._broker is not None:
            await self._broker.shutdown()
        self._server = self._broker = None

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            await self._serve(reader, writer)
        except (TranslationError, ConnectionError, TimeoutError, ValueError) as error:
            self.rejected += 1
            logging.getLogger(__name__).info("MQTT client closed: %s", error)
        except asyncio.CancelledError:
            pass  # stop()
        finally:
            self._clients.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        buffer = bytearray()
        async with asyncio.timeout(_CONNECT_TIMEOUT_S):
            buffer += await reader.read(1)
            if buffer != _CONNECT:
                raise TranslationError(
                    f"expected CONNECT ({_CONNECT.hex()}) first, got {buffer.hex()}"
                )
            connect = await _next_packet(reader, buffer)
        if not isinstance(connect, mqtt5.ConnectPacket):
            return
        assigned = None if connect.client_id else f"door-{secrets.token_hex(8)}"
        back = _Upgrader(writer, assigned)
        inner = asyncio.StreamReader()
        inner.feed_data(downgrade_connect(connect, assigned or connect.client_id))
        assert self._broker is not None
        self.connections += 1
        session = asyncio.create_task(
            self._broker.external_connected(StreamReaderAdapter(inner), back, _LISTENER)
        )
        pump = asyncio.create_task(_pump(reader, buffer, inner, back))
        try:
            await asyncio.wait((session, pump), return_when=asyncio.FIRST_COMPLETED)
        finally:
            # amqtt ends a session when its input ends.
            inner.feed_eof()
            pump.cancel()
            results = await asyncio.gather(session, pump, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result


async def _pump(
    reader: asyncio.StreamReader, buffer: bytearray, inner: asyncio.StreamReader, back: _Upgrader
) -> None:
    while True:
        packet = await _next_packet(reader, buffer)
        if packet is None:
            return
        if isinstance(packet, mqtt5.UnsubscribePacket):
            back.unsubscribed[packet.packet_id] = len(packet.patterns)
        inner.feed_data(downgrade(packet))
        if isinstance(packet, mqtt5.DisconnectPacket):
            return


async def _next_packet(reader: asyncio.StreamReader, buffer: bytearray) -> mqtt5.Packet | None:
    """Return the next whole packet, None at the end. TranslationError if it is too long."""
    while True:
        size = packet_size(buffer)
        if size is not None and size > MAX_PACKET:
            raise TranslationError(f"packet of {size} bytes: expected at most {MAX_PACKET}")
        if size is not None and len(buffer) >= size:
            try:
                packet, _ = mqtt5.read(memoryview(bytes(buffer[:size])))
            except (ValueError, IndexError) as error:
                raise TranslationError(f"not MQTT 5: {error}") from error
            del buffer[:size]
            return packet
        data = await reader.read(65536)
        if not data:
            return None
        buffer += data
