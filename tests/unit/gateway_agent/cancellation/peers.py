"""What the swept tasks talk to: a broker with a collector or gateways behind it, and Modbus slaves.

All of it runs in callbacks of the loop, without a task, so whatever task is left over is not ours.
"""

import asyncio
import os
import struct
import tty
from collections.abc import Callable, Iterable
from pathlib import Path

from gateway_agent.clock import Wall
from tests.unit.gateway_agent.slave import crc, frame
from tests.unit.gateway_agent.store_help import WALL_MS

from .sweep import VirtualLoop

WIRE_S = 0.001  # real
ANSWER_S = 0.01  # virtual: how long a peer takes

Message = tuple[str, bytes]


class LoopClock:
    """A gateway's clock with the loop's virtual time."""

    boot_id = bytes(16)

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def boot_ms(self) -> int:
        return round(self._loop.time() * 1000)

    def wall(self) -> Wall:
        return Wall(WALL_MS + self.boot_ms(), 5, 3)


class VirtualTimer:
    """In place of FineTimer, by the loop's virtual time; it has a descriptor that can leak, too."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_time: Callable[[], None]) -> None:
        self._loop = loop
        self._on_time = on_time
        self._file = os.eventfd(0)
        self._timer: asyncio.TimerHandle | None = None

    def start(self, wait_ns: int) -> None:
        self._cancel()
        self._timer = self._loop.call_later(wait_ns / 1e9, self._on_time)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def close(self) -> None:
        self._cancel()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class Server:
    """Listens on a free loopback port.

    It goes on to listen when it dies: a connection that asyncio has accepted in the turn in which
    its server is closed stays open.
    """

    def __init__(self) -> None:
        self.port = 0
        self.is_dead = False
        self.connections: set[asyncio.Transport] = set()
        self._server: asyncio.Server | None = None

    async def listen(self, protocol: Callable[[], asyncio.Protocol]) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(protocol, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def die(self) -> None:
        """Reset every connection, new ones at once."""
        self.is_dead = True
        for transport in self.connections:
            transport.abort()

    def close(self) -> None:
        """End for good."""
        self.die()
        assert self._server is not None
        self._server.close()


class Broker(Server):
    """An MQTT 3.1.1 broker; what it publishes comes from ``on_message`` and ``on_subscribe``.

    ``drops``: it closes the connection at the messages with these numbers, from 1 on.
    """

    def __init__(self, drops: Iterable[int] = ()) -> None:
        super().__init__()
        self.messages: list[Message] = []
        self.on_message: Callable[[Message], Iterable[Message]] = lambda _: ()
        self.on_subscribe: Callable[[], Iterable[Message]] = lambda: ()
        self.drops = set(drops)

    async def start(self) -> "Broker":
        await self.listen(lambda: _BrokerLink(self))
        return self


class Link(asyncio.Protocol):
    """One connection of a server."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._server.connections.add(transport)
        if self._server.is_dead:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self.transport)

    def later(self, data: bytes) -> None:
        """Send after the time that an answer takes."""
        asyncio.get_running_loop().call_later(ANSWER_S, self._send, data)

    def _send(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)


class _BrokerLink(Link):
    def __init__(self, broker: Broker) -> None:
        super().__init__(broker)
        self._broker = broker
        self._number = 0

    def data_received(self, data: bytes) -> None:
        self._rest += data
        while (packet := self._packet()) is not None:
            self._take(*packet)

    def _packet(self) -> tuple[int, bytes] | None:
        data, length, shift = self._rest, 0, 0
        for at in range(1, len(data)):
            length |= (data[at] & 0x7F) << shift
            shift += 7
            if data[at] < 0x80:
                end = at + 1 + length
                if len(data) < end:
                    return None
                self._rest = data[end:]
                return data[0], data[at + 1 : end]
        return None

    def _take(self, head: int, body: bytes) -> None:
        kind, broker = head >> 4, self._broker
        if kind == 1:  # CONNECT
            self.later(b"\x20\x02\x00\x00")
        elif kind == 8:  # SUBSCRIBE
            self.later(b"\x90\x03" + body[:2] + b"\x01")
            self._publish(broker.on_subscribe())
        elif kind == 12:  # PINGREQ
            self.later(b"\xd0\x00")
        elif kind == 14:  # DISCONNECT
            self.transport.close()
        elif kind == 3:
            (length,) = struct.unpack_from(">H", body)
            behind = 2 + length + (2 if head & 6 else 0)  # the packet's number, but for QoS 0
            topic, packet_id = body[2 : 2 + length].decode(), body[2 + length : behind]
            message = topic, body[behind:]
            broker.messages.append(message)
            if len(broker.messages) in broker.drops:
                self.transport.abort()
                return
            if packet_id:
                self.later(b"\x40\x02" + packet_id)
            self._publish(broker.on_message(message))

    def _publish(self, messages: Iterable[Message]) -> None:
        for topic, payload in messages:
            self._number += 1
            name = topic.encode()
            body = struct.pack(">H", len(name)) + name + struct.pack(">H", self._number) + payload
            length, rest = b"", len(body)
            while True:
                rest, low = rest >> 7, rest & 0x7F
                length += bytes((low | (0x80 if rest else 0),))
                if not rest:
                    break
            self.later(b"\x32" + length + body)


SILENT_UNIT = 2


def _answer(unit: int, function: int, count: bytes) -> bytes:
    """Return unit and PDU of an answer: zeros, or that there is no identification."""
    if function == 0x2B:
        return bytes((unit, function | 0x80, 1))
    size = 2 * struct.unpack(">H", count)[0]
    return bytes((unit, function, size)) + bytes(size)


def _tcp_answer(request: bytes) -> bytes | None:
    body = _answer(request[6], request[7], request[10:12])
    return None if request[6] == SILENT_UNIT else request[:4] + struct.pack(">H", len(body)) + body


def _rtu_answer(request: bytes) -> bytes | None:
    if request[0] == SILENT_UNIT or request[-2:] != crc(request[:-2]):
        return None
    return frame(_answer(request[0], request[1], request[4:6]))


def _ascii_answer(text: bytes) -> bytes | None:
    if text.count(b":") != 1:  # two at once: the first was given up
        return None
    request = bytes.fromhex(text[1:-2].decode())
    body = _answer(request[0], request[1], request[4:6])
    check = bytes((-sum(body) % 256,))
    return None if request[0] == SILENT_UNIT else b":%s\r\n" % (body + check).hex().upper().encode()


ANSWERS: dict[str, Callable[[bytes], bytes | None]] = {
    "tcp": _tcp_answer,
    "rtu": _rtu_answer,
    "ascii": _ascii_answer,
}


class TcpDevice(Server):
    """A Modbus TCP device, or a serial server with what ``answer`` needs. It counts its answers."""

    def __init__(self, answer: Callable[[bytes], bytes | None] = _tcp_answer) -> None:
        super().__init__()
        self.answer = answer
        self.served = 0

    async def start(self) -> "TcpDevice":
        await self.listen(lambda: _DeviceLink(self))
        return self


class _DeviceLink(Link):
    def __init__(self, device: TcpDevice) -> None:
        super().__init__(device)
        self._device = device

    def data_received(self, data: bytes) -> None:
        answer = self._device.answer(data)
        if answer is not None:
            self._device.served += 1
            self.later(answer)


class Line:
    """The same at the end of a serial line; a pty passes bytes on in a thread of the kernel."""

    def __init__(self, folder: Path, form: str = "rtu") -> None:
        self.answer = ANSWERS[form]
        self.served = 0
        self._fd, self._peer = os.openpty()
        tty.setraw(self._fd)
        tty.setraw(self._peer)
        self.path = folder / "line"
        self.path.symlink_to(os.ttyname(self._peer))
        loop = self._loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.wire_s = WIRE_S
        self._loop.add_reader(self._fd, self._readable)

    def _readable(self) -> None:
        request = os.read(self._fd, 4096)
        answer = self.answer(request)
        if answer is not None:
            self.served += 1
            self._loop.call_later(ANSWER_S, self._send, answer)

    def _send(self, data: bytes) -> None:
        if self._fd >= 0:
            os.write(self._fd, data)

    def die(self) -> None:
        """Unplug the adapter."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            os.close(self._peer)
            self._fd = -1

    def close(self) -> None:
        """End for good."""
        self.die()
