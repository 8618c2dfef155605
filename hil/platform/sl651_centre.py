"""A centre station of SL 651 on TCP: it confirms reports, or answers as badly as it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

_BEIJING = timezone(timedelta(hours=8))
_CONFIRM, _LEAVE, _AGAIN, _ASK = 0x1B, 0x04, 0x15, 0x05
_MORE = 0x17


class CentreFaults(NamedTuple):
    """What the centre does wrong; every ``n`` counts frames that it received, 0 is never.

    ``lose_every``: it answers nothing. ``refuse_every``: it answers NAK. ``late_s``: seconds before
    each answer. ``close_every``: it closes the connection without an answer. ``damage_every``: one
    bit of its answer is wrong. ``noise``: bytes in front of each answer.
    """

    lose_every: int = 0
    refuse_every: int = 0
    late_s: float = 0.0
    close_every: int = 0
    damage_every: int = 0
    noise: bytes = b""
    refuse_packet: int = 0


class CentreHeard(NamedTuple):
    """A frame of a station whose CRC is right; ``body`` begins behind the time of sending."""

    station: str
    function: int
    serial: int
    sent: str
    body: bytes
    packet: tuple[int, int]
    is_answer: bool = False


@dataclass
class Sl651Centre:
    """Listens on ``host`` and keeps what it heard; :attr:`faults` may be changed at any time.

    ``asks``: functions, with what stands behind the time, that each station is asked when its first
    frame of a connection has come. ``show`` gets a line for each frame in either direction.
    """

    host: str = "127.0.0.1"
    port: int = 0
    asks: list[tuple[int, bytes]] = field(default_factory=list)
    faults: CentreFaults = field(default_factory=CentreFaults)
    show: Callable[[str], None] = lambda line: None
    heard: list[CentreHeard] = field(default_factory=list)
    damaged: int = 0
    """Frames whose CRC was wrong, and bytes between frames."""
    connections: int = 0

    async def start(self) -> None:
        """Listen; :attr:`port` is the port then."""
        self._writers: set[asyncio.StreamWriter] = set()
        self._count = 0
        self._asked: set[int] = set()
        self._unasked: set[asyncio.StreamWriter] = set()
        self._refused: set[int] = set()
        self._server = await asyncio.start_server(self._serve, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the listener and every connection."""
        self._server.close()
        self.close_connections()
        await self._server.wait_closed()

    def close_connections(self) -> None:
        """Cut what is connected; stations may come back."""
        for writer in list(self._writers):
            writer.close()

    def whole(self, function: int) -> bytes:
        """Return the newest message of this function in several packets, put together again."""
        parts: dict[int, bytes] = {}
        for heard in self.heard:
            if heard.function == function and heard.packet[0] > 1:
                parts[heard.packet[1]] = heard.body
        return b"".join(parts[number] for number in sorted(parts))

    def ask(
        self,
        station: str,
        function: int,
        more: bytes = b"",
        password: str = "0000",  # noqa: S107 # of the protocol
    ) -> None:
        """Send a query of the centre (serial 0, ENQ) to each connected station."""
        for writer in self._writers:
            self._ask(writer, station, function, more, password)

    def _ask(
        self,
        writer: asyncio.StreamWriter,
        station: str,
        function: int,
        more: bytes,
        password: str,
    ) -> None:
        frame = self._frame(station, "01", password, function, 0, _ASK, more)
        self._show("->", frame, f"asks {function:02X}")
        self._asked.add(function)
        writer.write(frame)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        self._unasked.add(writer)
        held = b""
        try:
            while data := await reader.read(4096):
                held = await self._frames(held + data, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            self._unasked.discard(writer)
            writer.close()

    async def _frames(self, held: bytes, writer: asyncio.StreamWriter) -> bytes:
        """Deal with each whole frame in ``held``; return what is left of it."""
        while True:
            at = held.find(b"~~")
            if at < 0:
                return held[-1:]
            held = held[at:]
            if len(held) < 14:
                return held
            size = 17 + int(held[11:13].hex()[1:], 16)
            if len(held) < size:
                return held
            frame, rest = held[:size], held[size:]
            if _crc(frame[:-2]) != frame[-2:]:
                self.damaged += 1
                held = held[2:]
                continue
            held = rest
            await self._heard(frame, writer)

    async def _heard(self, frame: bytes, writer: asyncio.StreamWriter) -> None:
        is_packet = frame[13] == 0x16
        packet = (int(frame[14:17].hex()[:3], 16), int(frame[14:17].hex()[3:], 16))
        body = frame[17:-3] if is_packet else frame[14:-3]
        number = packet[1] if is_packet else 1
        # Only the first of several packets has a serial number and a time.
        serial = int.from_bytes(body[:2], "big") if number == 1 else 0
        sent = body[2:8].hex() if number == 1 else ""
        heard = CentreHeard(
            frame[3:8].hex(),
            frame[10],
            serial,
            sent,
            body[8:] if number == 1 else body,
            packet if is_packet else (1, 1),
            frame[10] in self._asked,
        )
        self._show("<-", frame, f"{heard.function:02X} serial {serial}")
        self._count += 1
        if writer in self._unasked:
            self._unasked.discard(writer)
            for function, more in self.asks:
                self._ask(writer, heard.station, function, more, frame[8:10].hex())
        faults = self.faults
        if _is_turn(self._count, faults.close_every):
            writer.close()
            return
        if _is_turn(self._count, faults.lose_every):
            return
        is_refused = _is_turn(self._count, faults.refuse_every)
        if not is_refused:
            self.heard.append(heard)
        if heard.function == 0x2F or frame[-3] == _MORE:
            return  # nobody confirms a keep-alive, nor packets before the last
        if is_packet:
            first = next(h for h in reversed(self.heard) if h.packet[1] == 1)
            heard = heard._replace(serial=first.serial)
        packet_again = faults.refuse_packet if is_packet and number == packet[0] else 0
        if packet_again and heard.serial not in self._refused:
            self._refused.add(heard.serial)
            answer = self._reply(frame, heard, _AGAIN, (packet[0], packet_again))
            self._show("->", answer, f"packet {packet_again} again")
            writer.write(answer)
            return
        end = _AGAIN if is_refused else _CONFIRM if frame[-3] == 0x03 else _LEAVE
        answer = self._reply(frame, heard, end)
        if _is_turn(self._count, faults.damage_every):
            answer = answer[:15] + bytes((answer[15] ^ 4,)) + answer[16:]
        if faults.late_s:
            await asyncio.sleep(faults.late_s)
        self._show("->", answer, "again" if is_refused else "confirmed")
        writer.write(faults.noise + answer)
        await writer.drain()

    def _reply(
        self, frame: bytes, heard: CentreHeard, end: int, packet: tuple[int, int] | None = None
    ) -> bytes:
        centre, password = frame[2:3].hex(), frame[8:10].hex()
        serial, function = heard.serial, heard.function
        return self._frame(heard.station, centre, password, function, serial, end, packet=packet)

    def _frame(
        self,
        station: str,
        centre: str,
        password: str,
        function: int,
        serial: int,
        end: int,
        more: bytes = b"",
        packet: tuple[int, int] | None = None,
    ) -> bytes:
        now = datetime.now(_BEIJING).strftime("%y%m%d%H%M%S")
        body = bytes.fromhex(f"{serial:04x}{now}") + more
        start = "02"
        if packet is not None:
            body = bytes.fromhex(f"{packet[0]:03x}{packet[1]:03x}") + body
            start = "16"
        head = bytes.fromhex(
            f"7e7e{station}{centre}{password}{function:02x}8{len(body):03x}{start}"
        )
        frame = head + body + bytes((end,))
        return frame + _crc(frame)

    def _show(self, arrow: str, frame: bytes, meaning: str) -> None:
        self.show(f"{arrow} {meaning:24} {frame.hex().upper()}")


def _is_turn(count: int, every: int) -> bool:
    return bool(every) and count % every == 0


def _crc(data: bytes) -> bytes:
    """Return the CRC-16 of Modbus, bit by bit, its high byte first."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
    return crc.to_bytes(2, "big")
