"""Stands between a gateway and its broker, and counts what the gateway publishes, from outside."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from protocols.uplink import open_batch, open_receipt
from tests.promise.device import boot_ms

PUBLISH, PUBACK = 3, 4
NO_SUBSCRIBERS = 0x10  # MQTT 5.0, 3.4.2.1


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


def published(body: bytes, version: str, qos: int = 1) -> tuple[bytes, str, bytes]:
    """Take a PUBLISH apart: packet identifier, topic, payload."""
    at = 2 + int.from_bytes(body[:2], "big")
    topic, identifier = body[2:at].decode(), body[at : at + 2]
    at += 2 if qos else 0
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
    answered_ms: tuple[int, ...] = ()  # when the device answered, for each record, since boot


class WireTap:
    """A relay to the broker at ``port``.

    ``batches``: what passed it from the gateway, and found a subscriber, as far as a broker says.
    ``receipts``: how far each went, and when it passed, in ms since boot.
    """

    def __init__(self, port: int, collector_key: Ed25519PublicKey, version: str = "5") -> None:
        self.port = 0
        self.batches: list[Published] = []
        self.receipts: list[tuple[int, int]] = []
        self.connections = 0
        self._open: dict[tuple[int, bytes], Published] = {}  # without a PUBACK
        self._broker = port
        self._collector_key = collector_key
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

    def ages_ms(self) -> list[tuple[int, int]]:
        """When a receipt came, and the age of each record that it was the first to cover."""
        records = sorted(
            (batch.first + index, answered)
            for batch in self.batches
            for index, answered in enumerate(batch.answered_ms)
        )
        ages, at = [], 0
        for to, now_ms in self.receipts:
            while at < len(records) and records[at][0] <= to:
                ages.append((now_ms, now_ms - records[at][1]))
                at += 1
        return ages

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["WireTap"]:
        """Listen on ``port``."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._broker)
            self.connections += 1
            number = self.connections
            back = asyncio.create_task(self._pass(far_reader, writer, number, self._note_answer))
            with contextlib.suppress(asyncio.CancelledError):  # the test is over
                await self._pass(reader, far_writer, number, self._note_batch)
            back.cancel()
            await asyncio.wait({back})
        except OSError:
            pass  # no broker listens: the connection ends
        finally:
            writer.transport.abort()

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        connection: int,
        note: Callable[[int, int, bytes], None],
    ) -> None:
        buffer = bytearray()
        try:
            while data := await reader.read(1 << 16):
                buffer += data
                for first, body in packets(buffer):
                    note(connection, first, body)
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()

    def _note_batch(self, connection: int, first: int, body: bytes) -> None:
        if first >> 4 == PUBLISH:
            identifier, _, payload = published(body, self._version)
            opened = open_batch(payload, None)
            header = opened.header
            answered = tuple(record.stamp.resp_ms for record in opened.decode())
            batch = Published(connection, header.stream, header.first, header.last, answered)
            self.batches.append(batch)
            self._open[connection, identifier] = batch

    def _note_answer(self, connection: int, first: int, body: bytes) -> None:
        if first >> 4 == PUBACK:
            batch = self._open.pop((connection, body[:2]))
            if len(body) > 2 and body[2] == NO_SUBSCRIBERS:
                self.batches.remove(batch)
        elif first >> 4 == PUBLISH:
            payload = published(body, self._version, first >> 1 & 3)[2]
            receipt = open_receipt(payload, self._collector_key)
            self.receipts.append((receipt.contiguous_to, boot_ms()))
