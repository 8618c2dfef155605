"""A centre station of SL 427 on TCP: it confirms reports and asks, or behaves badly.

Written from frames of implementations (68 L 68, CRC-8 of polynomial E5), not from the text.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple


class Sl427Faults(NamedTuple):
    """What the centre does wrong; every ``n`` counts reports that it received, 0 is never.

    ``lose_every``: it answers nothing. ``late_s``: seconds before each answer. ``close_every``: it
    closes the connection without an answer. ``damage_every``: one bit of its answer is wrong.
    """

    lose_every: int = 0
    late_s: float = 0.0
    close_every: int = 0
    damage_every: int = 0


class Sl427Heard(NamedTuple):
    """A frame of a station whose CRC-8 is right."""

    control: int
    address: str
    function: int
    data: bytes


@dataclass
class Sl427Centre:
    """Listens on ``host`` and keeps what it heard; :attr:`faults` may be changed at any time.

    ``show`` gets a line for each frame in either direction.
    """

    host: str = "127.0.0.1"
    port: int = 0
    faults: Sl427Faults = field(default_factory=Sl427Faults)
    show: Callable[[str], None] = lambda line: None
    heard: list[Sl427Heard] = field(default_factory=list)
    damaged: int = 0
    connections: int = 0

    async def start(self) -> None:
        """Listen; :attr:`port` is the port then."""
        self._writers: set[asyncio.StreamWriter] = set()
        self._count = 0
        self._server = await asyncio.start_server(self._serve, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the listener and every connection."""
        self._server.close()
        for writer in tuple(self._writers):
            writer.transport.abort()
        await self._server.wait_closed()

    def ask(self, address: str, function: int, kind: int, data: bytes = b"") -> None:
        """Send a frame down to each connected station."""
        frame = _frame(kind, address, function, data)
        self._say(frame)
        for writer in self._writers:
            writer.write(frame)

    def reports(self) -> list[Sl427Heard]:
        """Return the self-reports."""
        return [one for one in self.heard if one.function == 0xC0]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        held = b""
        try:
            while data := await reader.read(4096):
                held += data
                while len(held) > 2 and len(held) >= held[1] + 5:
                    size = held[1] + 5
                    frame, held = held[:size], held[size:]
                    self._take(frame, writer)
        except ConnectionError:
            pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    def _take(self, frame: bytes, writer: asyncio.StreamWriter) -> None:
        inner = frame[3:-2]
        if frame[0] != 0x68 or frame[2] != 0x68 or frame[-1] != 0x16 or _crc(inner) != frame[-2]:
            self.damaged += 1
            return
        heard = Sl427Heard(inner[0], inner[1:6].hex(), inner[6], inner[7:])
        self.show(f"<- {heard.function:02X} {frame.hex().upper()}")
        self.heard.append(heard)
        if heard.function not in (0x02, 0xC0):
            return
        if heard.function == 0xC0:
            self._count += 1
            if _is_turn(self._count, self.faults.close_every):
                writer.transport.abort()
                return
            if _is_turn(self._count, self.faults.lose_every):
                return
        answer = _frame(heard.control & 0x7F, heard.address, heard.function, b"\0")
        if heard.function == 0xC0 and _is_turn(self._count, self.faults.damage_every):
            answer = answer[:5] + bytes((answer[5] ^ 1,)) + answer[6:]
        asyncio.get_running_loop().call_later(self.faults.late_s, self._write, writer, answer)

    def _write(self, writer: asyncio.StreamWriter, frame: bytes) -> None:
        if not writer.is_closing():
            self._say(frame)
            writer.write(frame)

    def _say(self, frame: bytes) -> None:
        self.show(f"-> {frame[9]:02X} {frame.hex().upper()}")


def _is_turn(count: int, every: int) -> bool:
    return bool(every) and count % every == 0


def _frame(control: int, address: str, function: int, data: bytes) -> bytes:
    inner = bytes((control,)) + bytes.fromhex(address) + bytes((function,)) + data
    return bytes((0x68, len(inner), 0x68)) + inner + bytes((_crc(inner), 0x16))


def _crc(data: bytes) -> int:
    """Divide by x8 + x7 + x6 + x5 + x2 + 1, as one long number."""
    rest = int.from_bytes(data, "big") << 8
    for shift in range(rest.bit_length() - 9, -1, -1):
        if rest >> (shift + 8) & 1:
            rest ^= 0x1E5 << shift
    return rest
