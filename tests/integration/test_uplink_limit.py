"""A broker that sends more than was asked for: nothing of it may be kept."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.integration.uplink_help import Site, until

ANNOUNCED = 200_000_000
ENOUGH = 16 << 20  # far above what the buffers of two sockets hold


class Flood:
    """Speaks just enough MQTT to have a subscriber, then sends it one endless PUBLISH."""

    def __init__(self, version: str) -> None:
        self.properties = b"\x00" if version == "5" else b""  # an empty table
        self.sent = 0
        self.cut_off = 0  # connections the client has closed on us

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._packet(reader)  # CONNECT
            writer.write(self._answer(0x20, b"\x00\x00" + self.properties))
            subscribe = await self._packet(reader)
            writer.write(self._answer(0x90, subscribe[:2] + self.properties + b"\x01"))
            writer.write(b"\x30" + length(ANNOUNCED))
            while self.sent < ENOUGH:
                writer.write(bytes(65536))
                await writer.drain()
                self.sent += 65536
        except (ConnectionError, asyncio.IncompleteReadError):
            self.cut_off += 1
        finally:
            writer.transport.abort()

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


@asynccontextmanager
async def flooding(version: str) -> AsyncIterator[tuple[Flood, int]]:
    """The flood and its port."""
    flood = Flood(version)
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
