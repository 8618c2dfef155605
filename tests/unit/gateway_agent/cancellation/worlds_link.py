"""The links that are swept: a serial port, a serial server, and a port on which a node calls in."""

import asyncio
import hashlib
import os
import socket
import tty
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec

from gateway_agent.config import LinkBus
from gateway_agent.counters import Counters
from gateway_agent.field.field import Field
from gateway_agent.field.link.file_fetch import FetchedFile
from gateway_agent.file_socket import SOCKET_NAME, Progress, serve_files
from protocols.uplink import decode_record
from protocols.wire.link.messages import SAMPLES
from tests.free_port import free_port
from tests.unit.gateway_agent.field_help import config_of
from tests.unit.gateway_agent.frames_of_nodes import AIR_WORDS
from tests.unit.gateway_agent.link_node import Caller, LinkNode
from tests.unit.gateway_agent.test_link import device

from .peers import WIRE_S, LoopClock, Server
from .sweep import VirtualLoop
from .worlds import Actor
from .worlds_field import kept, open_writer

LINKS = ("serial", "server", "listen")
SAMPLES_WANTED = 4
MEASURE_S = 0.05  # virtual


class _Node:
    """A node that measures, and has what all ways to it have in common."""

    def __init__(self) -> None:
        self.node = LinkNode(period_ds=20)
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(MEASURE_S, self._measure)

    def _measure(self) -> None:
        self.node.measure()
        self.node.event(push=self.node.seq % 2 == 0)
        self._timer = self._loop.call_later(MEASURE_S, self._measure)

    @property
    def acknowledged(self) -> int:
        """How many samples the node has let go of; nothing else is dropped here."""
        return self.node.seq - self.node.end.waiting(SAMPLES) // (2 * AIR_WORDS + 1)

    def die(self) -> None:
        """Be gone."""
        self._timer.cancel()
        self.node.close()

    def close(self) -> None:
        """End for good."""
        self.die()


class _Serial(_Node):
    """The node at the end of a pty."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._fd, self._peer = os.openpty()
        tty.setraw(self._fd)
        tty.setraw(self._peer)
        self.path = folder / "line"
        self.path.symlink_to(os.ttyname(self._peer))
        assert isinstance(self._loop, VirtualLoop)
        self._loop.wire_s = WIRE_S
        self._loop.add_reader(self._fd, lambda: self.node.received(os.read(self._fd, 4096)))
        self.node.plug(self._write)

    def _write(self, data: bytes) -> None:
        os.write(self._fd, data)

    def die(self) -> None:
        super().die()
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            os.close(self._peer)
            self._fd = -1


class _ServedCaller(Caller):
    """The node's side of a connection to the serial server."""

    def __init__(self, node: LinkNode, server: Server) -> None:
        super().__init__(node)
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._server.connections.add(transport)
        if self._server.is_dead:
            transport.abort()
        else:
            super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.transport is not None:
            self._server.connections.discard(self.transport)


class _SerialServer(_Node):
    """The node behind a serial server."""

    def __init__(self) -> None:
        super().__init__()
        self.server = Server()

    def protocol(self) -> asyncio.Protocol:
        return _ServedCaller(self.node, self.server)

    def die(self) -> None:
        super().die()
        self.server.die()

    def close(self) -> None:
        super().close()
        self.server.close()


class _Modem(_Node):
    """The node calls in, in callbacks alone."""

    def __init__(self) -> None:
        super().__init__()
        self.port = free_port()
        self._socket: socket.socket | None = None
        self._call = self._loop.call_later(MEASURE_S, self._dial)

    def _dial(self) -> None:
        try:
            self._socket = socket.create_connection(("127.0.0.1", self.port))
        except ConnectionRefusedError:
            self._call = self._loop.call_later(MEASURE_S, self._dial)
            return
        self._socket.setblocking(False)
        self._loop.add_reader(self._socket, self._read)
        self.node.plug(self._write)

    def _write(self, data: bytes) -> None:
        if self._socket is not None:
            with suppress(OSError):
                self._socket.send(data)

    def _read(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(4096)
        except OSError:
            data = b""
        if data:
            self.node.received(data)
        else:
            self._hang_up()

    def _hang_up(self) -> None:
        self.node.unplug()
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def die(self) -> None:
        super().die()
        self._call.cancel()
        self._hang_up()


async def _made(kind: str, folder: Path) -> tuple[LinkBus, "_Serial | _SerialServer | _Modem"]:
    devices = (device(folder),)
    if kind == "serial":
        serial = _Serial(folder)
        return LinkBus(name="l", port=str(serial.path), device=devices), serial
    if kind == "listen":
        modem = _Modem()
        return LinkBus(name="l", listen=f"127.0.0.1:{modem.port}", device=devices), modem
    server = _SerialServer()
    await server.server.listen(server.protocol)
    return LinkBus(name="l", host="127.0.0.1", port=server.server.port, device=devices), server


@asynccontextmanager
async def link(folder: Path, kind: str) -> AsyncIterator[Actor]:
    """A link with one node, the commit queue and the store."""
    bus, peer = await _made(kind, folder)
    writer = open_writer(folder / "state")
    config = msgspec.structs.replace(config_of(folder), link=(bus,))
    serving = Field(config, LoopClock(), writer, {}, Counters())
    actor = Actor(serving.run, peer)

    async def watch() -> None:
        while peer.acknowledged < SAMPLES_WANTED:
            await asyncio.sleep(0.05)
        actor.finish()

    watching = asyncio.create_task(watch())
    if isinstance(peer, _Modem):
        actor.leave = peer.die  # type: ignore[method-assign] # it holds the other end

    def check() -> None:
        assert serving.slots_unaccounted() == 0
        assert serving.samples_unaccounted() == 0

    actor.checks.append(check)
    try:
        yield actor
    finally:
        watching.cancel()
        acknowledged = peer.acknowledged
        peer.close()
        await writer.close()
    records = [decode_record(data) for data in kept(folder / "state")]
    numbers = {
        int.from_bytes(item.frame[8:12]) for item in records if item.kind == 1 and item.frame
    }
    assert set(range(1, acknowledged + 1)) <= numbers


@asynccontextmanager
async def files(folder: Path) -> AsyncIterator[Actor]:
    """The file socket: one client gets its file, one asks and never reads, one never asks."""
    loop = asyncio.get_running_loop()
    data = bytes(1 << 20)

    async def fetch(node: str, file: int, progress: Progress) -> FetchedFile:
        for part in range(3):
            progress(part, 3)
            await asyncio.sleep(MEASURE_S)
        return FetchedFile(file, 1, hashlib.sha256(data).digest(), data)

    def read(client: socket.socket) -> None:
        with suppress(OSError):
            if client.recv(1 << 16):
                return
        loop.remove_reader(client)
        actor.finish()

    def connect() -> None:
        for number in range(3):
            client = socket.socket(socket.AF_UNIX)
            actor.clients.append(client)
            client.setblocking(False)
            with suppress(FileNotFoundError):  # stopped before
                client.connect(str(folder / SOCKET_NAME))
                if number < 2:
                    client.send(b'{"node": "air"}\n')
                if not number:
                    loop.add_reader(client, read, client)

    def leave() -> None:
        for client in actor.clients:
            loop.remove_reader(client)
            client.close()

    async def serve() -> None:
        async with serve_files(folder, fetch):
            loop.call_later(MEASURE_S, connect)
            while True:
                await asyncio.sleep(0.1)

    actor = Actor(serve)
    actor.leave = leave  # type: ignore[method-assign] # a reader stands on each
    actor.checks.append(lambda: _gone(folder / SOCKET_NAME))
    yield actor


def _gone(path: Path) -> None:
    assert not path.exists()
