"""Stands between a gateway and its broker, and counts what the gateway publishes, from outside."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from protocols.uplink import open_batch

PUBLISH = 3


def packets(buffer: bytearray) -> Iterator[tuple[int, bytes]]:
    """Take the whole MQTT packets out of ``buffer``: first byte, and what follows the length."""
    while len(buffer) > 1:
        length = at = 0
        for at in range(1, min(5, len(buffer))):
            length |= (buffer[at] & 0x7F) << 7 * (at - 1)
            if buffer[at] < 0x80:
                break
        else:
            return
        end = at + 1 + length
        if len(buffer) < end:
            return
        body = bytes(buffer[at + 1 : end])
        first = buffer[0]
        del buffer[:end]
        yield first, body


def published(body: bytes, version: str) -> tuple[bytes, str, bytes]:
    """Take a PUBLISH of QoS 1 apart: packet identifier, topic, payload."""
    at = 2 + int.from_bytes(body[:2], "big")
    topic, identifier = body[2:at].decode(), body[at : at + 2]
    at += 2
    if version == "5":
        assert body[at] == 0, "no properties"
        at += 1
    return identifier, topic, body[at:]


class Published(NamedTuple):
    """A batch on the wire."""

    connection: int  # of the gateway, from 1 on
    stream: int
    first: int
    last: int


class WireTap:
    """A relay to the broker at ``port``; ``batches`` has what passed it from the gateway."""

    def __init__(self, port: int, version: str = "5") -> None:
        self.port = 0
        self.batches: list[Published] = []
        self.connections = 0
        self._broker = port
        self._version = version

    def repeated(self) -> int:
        """How many batches hold a record that was sent before in the same connection."""
        sent: dict[tuple[int, int], int] = {}
        again = 0
        for batch in self.batches:
            where = batch.connection, batch.stream
            again += batch.first <= sent.get(where, 0)
            sent[where] = max(sent.get(where, 0), batch.last)
        return again

    def records_sent_twice(self) -> int:
        """How many records passed more than once, in whatever connection."""
        times: Counter[tuple[int, int]] = Counter()
        for batch in self.batches:
            times.update((batch.stream, seq) for seq in range(batch.first, batch.last + 1))
        return sum(count > 1 for count in times.values())

    @asynccontextmanager
    async def running(self) -> AsyncIterator["WireTap"]:
        """Listen on ``port``."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._broker)
        except OSError:
            writer.transport.abort()
            return
        self.connections += 1
        back = asyncio.create_task(self._pass(far_reader, writer, None))
        await self._pass(reader, far_writer, self.connections)
        back.cancel()
        await asyncio.wait({back})

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int | None
    ) -> None:
        buffer = bytearray()
        try:
            while data := await reader.read(1 << 16):
                if connection is not None:
                    buffer += data
                    self._note(buffer, connection)
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()

    def _note(self, buffer: bytearray, connection: int) -> None:
        for first, body in packets(buffer):
            if first >> 4 == PUBLISH:
                header = open_batch(published(body, self._version)[2], None).header
                batch = Published(connection, header.stream, header.first, header.last)
                self.batches.append(batch)
