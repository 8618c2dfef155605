"""A Modbus slave for tests that misbehaves to order: late, foreign, noisy, cut, dead.

It sits on the other end of a pty (RTU) or of TCP connections, in the test's own event loop. What
it computes (CRC, frames) it computes on its own, not with the code under test.
"""

import asyncio
import os
import struct
import tty
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

Reply = tuple[float, bytes]  # seconds after the request, bytes
Handler = Callable[[bytes], Iterable[Reply]]

_READ: Final = 8


def crc(data: bytes) -> bytes:
    """CRC-16/MODBUS bit by bit, low byte first."""
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ 0xA001 if value & 1 else value >> 1
    return struct.pack("<H", value)


def frame(*parts: bytes) -> bytes:
    """An RTU frame of these bytes."""
    body = b"".join(parts)
    return body + crc(body)


def answer(unit: int, *words: int, function: int = 4) -> bytes:
    """The RTU answer to a read."""
    return raw_answer(unit, struct.pack(f">{len(words)}H", *words), function)


def raw_answer(unit: int, data: bytes, function: int = 4) -> bytes:
    """The RTU answer with these register bytes."""
    return frame(bytes((unit, function, len(data))), data)


def refusal(unit: int, function: int, code: int) -> bytes:
    """The RTU exception answer."""
    return frame(bytes((unit, function | 0x80, code)))


def mbap(tid: int, unit: int, pdu: bytes) -> bytes:
    """A Modbus TCP frame."""
    return struct.pack(">HHHB", tid, 0, len(pdu) + 1, unit) + pdu


def registers(request: bytes) -> tuple[int, int, int, int]:
    """(unit, function, address, count) of an RTU read request."""
    assert request[-2:] == crc(request[:-2]), f"request with a wrong CRC: {request.hex(' ')}"
    unit, function, address, count = struct.unpack(">BBHH", request[:6])
    return unit, function, address, count


class PtySlave:
    """Sends what ``handler`` returns; every request is kept in ``requests``.

    ``path`` is a link, so that the port can vanish and come back under the same name.
    """

    def __init__(self, folder: Path, handler: Handler) -> None:
        self.handler = handler
        self.requests: list[bytes] = []
        self.path = folder / "line"
        self._fd = -1
        self._peer = -1
        self._rest = b""
        self._open()

    def _open(self) -> None:
        self._fd, self._peer = os.openpty()
        tty.setraw(self._fd)
        tty.setraw(self._peer)
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(os.ttyname(self._peer))
        asyncio.get_running_loop().add_reader(self._fd, self._readable)

    def unplug(self) -> None:
        """The port is gone."""
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)
        os.close(self._peer)
        self.path.unlink()
        self._fd = -1

    def plug(self) -> None:
        """The port is back, as another device of the same name."""
        self._open()

    def close(self) -> None:
        """End."""
        if self._fd >= 0:
            self.unplug()

    def send(self, data: bytes) -> None:
        """Put bytes on the line at any time."""
        if self._fd >= 0:
            os.write(self._fd, data)

    def _readable(self) -> None:
        self._rest += os.read(self._fd, 4096)
        while len(self._rest) >= 2:
            length = 7 if self._rest[1] == 0x2B else _READ
            if self._rest[1] == 0x10:  # a write: its bytes are counted in the seventh
                length = 9 + (self._rest[6] if len(self._rest) > 6 else 0)
            if len(self._rest) < length:
                return
            request, self._rest = self._rest[:length], self._rest[length:]
            self.requests.append(request)
            loop = asyncio.get_running_loop()
            for delay, data in self.handler(request):
                if delay:
                    loop.call_later(delay, self.send, data)
                else:
                    self.send(data)


class TcpSlave:
    """The same over TCP; ``handler`` gets whole segments and connections are counted."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.requests: list[bytes] = []
        self.connections = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> "TcpSlave":
        """Listen on a free loopback port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=4096)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def close(self) -> None:
        """End, connections included."""
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        loop = asyncio.get_running_loop()
        while data := await reader.read(4096):
            self.requests.append(data)
            for delay, reply in self.handler(data):
                if delay:
                    loop.call_later(delay, writer.write, reply)
                else:
                    writer.write(reply)
        writer.close()


async def until(condition: Callable[[], object], seconds: float = 40) -> None:
    """Wait until ``condition()`` is true; AssertionError after the deadline."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not condition():
        assert loop.time() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.002)
