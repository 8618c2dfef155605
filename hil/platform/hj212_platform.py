"""A platform of HJ 212 on TCP: it answers and asks, or behaves as badly as it is told to.

Written from HJ 212-2017 (table 2, annexes A and C) and from what platforms were seen to do.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import SM4

_ZONE: Final = timezone(timedelta(hours=8))
_HEADER: Final = re.compile(rb"(QN|ST|CN|PW|MN|Flag|PNUM|PNO|RF)=([^;]*);")
_REPLIES: Final = ("9011", "9012", "9013", "9014")
_NOTICES: Final = ("1013", "2081", "9015", "1001", "3020")


class Hj212Faults(NamedTuple):
    """What the platform does wrong; every ``n`` counts frames that it received, 0 is never.

    ``lose_every``: it keeps what came, and its answer is lost. ``late_s``: seconds before each
    answer. ``close_every``: it closes and keeps nothing of what came. ``damage_every``: one bit of
    its answer is wrong. ``flood``: so many frames and so much noise at each connection. ``mute``:
    it never answers, and keeps nothing. ``deaf``: it keeps what comes and never answers.
    ``refuse``: it keeps no data and answers them by this, ``QnRtn=3`` or ``ExeRtn=2``.
    """

    lose_every: int = 0
    late_s: float = 0.0
    close_every: int = 0
    damage_every: int = 0
    flood: int = 0
    mute: bool = False
    deaf: bool = False
    refuse: str = ""
    refuse_only: str = ""  # the CN of data that it refuses; all data if empty


class Hj212Heard(NamedTuple):
    """A frame of a device whose length and checksum are right."""

    mn: str
    cn: str
    qn: str
    st: str
    flag: int
    cp: str
    part: str
    is_backfill: bool


def annex_a(data: bytes) -> bytes:
    """Return the four digits of annex A over ``data``, computed bit by bit."""
    register = 0xFFFF
    for byte in data:
        register = (register >> 8) ^ byte
        for _ in range(8):
            odd = register & 1
            register >>= 1
            if odd:
                register ^= 0xA001
    return b"%04X" % register


@dataclass
class Hj212Platform:
    """Listens on ``host`` and keeps what it heard; :attr:`faults` may be changed at any time.

    ``asks``: (CN, text of CP) sent one after the other, each when the one before has its result.
    ``show`` gets a line for each frame in either direction.
    """

    host: str = "127.0.0.1"
    port: int = 0
    faults: Hj212Faults = field(default_factory=Hj212Faults)
    asks: list[tuple[str, str]] = field(default_factory=list)
    key: bytes = b""
    show: Callable[[str], None] = lambda line: None
    heard: list[Hj212Heard] = field(default_factory=list)
    answered: list[Hj212Heard] = field(default_factory=list)
    """What it acknowledged: with 9014, or, where the device asked for no answer, by taking it."""
    table: dict[tuple[str, str, str, str], Hj212Heard] = field(default_factory=dict)
    """What it has kept, by MN, CN, QN and PNO: a frame with all of these again is a repeat."""
    repeats: int = 0
    damaged: int = 0
    connections: int = 0

    async def start(self) -> None:
        """Listen; :attr:`port` is the port then."""
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._count = 0
        self._asked = 0
        self._st = "22"
        self._pending: list[tuple[str, str]] = []
        self._server = await asyncio.start_server(self._serve, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close every connection and listen no more."""
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        for writer in tuple(self._writers):
            writer.transport.abort()
        await self._server.wait_closed()

    def drop(self) -> None:
        """Break every connection; devices may come back at once."""
        for writer in tuple(self._writers):
            writer.transport.abort()

    def periods(self, cn: str) -> Counter[str]:
        """Return how often its table has each DataTime of this CN; of several parts, the first."""
        return Counter(
            time[1]
            for item in self.table.values()
            if item.cn == cn and item.part in ("", "1")
            if (time := re.match(r"DataTime=(\d+)", item.cp))
        )

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        self._pending = list(self.asks)
        is_first = True
        held = b""
        try:
            while data := await reader.read(65536):
                held += data
                while (frame := self._cut(held)) is not None:
                    length, item = frame
                    held = held[length:]
                    if item is None:
                        continue
                    if not self._take(item, writer):
                        return
                    if is_first:
                        is_first = False
                        self._first(item, writer)
        except ConnectionError:
            pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    def _cut(self, held: bytes) -> tuple[int, Hj212Heard | None] | None:
        """Return the length of what stands first and what it is; None if its rest is to come."""
        begin = held.find(b"##")
        if begin < 0:
            return None
        if len(held) < begin + 6:
            return None
        if not held[begin + 2 : begin + 6].isdigit():
            self.damaged += 1
            return begin + 2, None
        end = begin + 10 + int(held[begin + 2 : begin + 6])
        if len(held) < end:
            return None
        segment, digits = held[begin + 6 : end - 4], held[end - 4 : end]
        opened = self._opened(segment)
        if annex_a(segment) == digits.upper():
            opened = segment
        elif annex_a(opened) != digits.upper():
            self.damaged += 1
            return begin + 2, None
        head, _, cp = opened.partition(b"CP=&&")
        fields = {name.decode(): value.decode() for name, value in _HEADER.findall(head)}
        item = Hj212Heard(
            fields.get("MN", ""),
            fields.get("CN", ""),
            fields.get("QN", ""),
            fields.get("ST", ""),
            int(fields.get("Flag", "0")),
            cp.removesuffix(b"&&").decode("utf-8", "replace"),
            fields.get("PNO", ""),
            fields.get("RF") == "1",
        )
        return end, item

    def _opened(self, segment: bytes) -> bytes:
        head, mark, rest = segment.partition(b"CP=&&")
        if not self.key or not mark:
            return segment
        text = rest[:-2]
        whole = len(text) // 16 * 16
        turned = Cipher(SM4(self.key), modes.ECB()).decryptor()  # noqa: S305 # HJ 212-2025
        return head + mark + turned.update(text[:whole]) + text[whole:] + b"&&"

    def _take(self, item: Hj212Heard, writer: asyncio.StreamWriter) -> bool:
        """Deal with a frame; whether the connection goes on."""
        self.heard.append(item)
        self.show(f"<- {item.cn} QN={item.qn} {item.cp}")
        self._count += 1
        faults = self.faults
        if faults.close_every and self._count % faults.close_every == 0:
            return False
        if item.cn in _REPLIES:
            if item.cn in ("9012", "9013") or item.cp not in ("", "QnRtn=1"):
                self._ask(item, writer)
            return True
        if faults.mute:
            return True
        is_refused = faults.refuse_only in ("", item.cn) and item.cn not in (*_NOTICES, "9021")
        if faults.refuse and is_refused:
            answer = "9012" if faults.refuse.startswith("ExeRtn") else "9011"
            self._send(answer, faults.refuse, item, writer)
            return True
        self._keep(item)
        if faults.deaf or (faults.lose_every and self._count % faults.lose_every == 0):
            return True
        if item.flag & 1 or item.cn == "9021":
            notice = item.cn in _NOTICES and item.cn != "3020"
            answer = "9021" if item.cn == "9021" else "9013" if notice else "9014"
            self._send(answer, "", item, writer, counts=item)
        else:
            self.answered.append(item)
        return True

    def _keep(self, item: Hj212Heard) -> None:
        """Put a frame into the table, once."""
        key = item.mn, item.cn, item.qn, item.part
        if item.qn and key in self.table:
            self.repeats += 1
        else:
            self.table[key if item.qn else (*key[:2], str(len(self.table)), item.part)] = item

    def _first(self, item: Hj212Heard, writer: asyncio.StreamWriter) -> None:
        for number in range(self.faults.flood):
            noise = b"##9999&&noise##" * (number % 7)
            self._write(writer, noise + self._frame("1011", "", item))
        self._ask(item, writer)

    def _ask(self, item: Hj212Heard, writer: asyncio.StreamWriter) -> None:
        if self._pending:
            cn, text = self._pending.pop(0)
            self._send(cn, text, item, writer)

    def _frame(self, cn: str, text: str, item: Hj212Heard) -> bytes:
        is_reply = cn in (*_REPLIES, "9021")
        qn = item.qn
        if not is_reply:
            self._asked += 1
            moment = datetime.now(_ZONE) + timedelta(milliseconds=self._asked)
            qn = moment.strftime("%Y%m%d%H%M%S%f")[:17]
        version = item.flag >> 2
        if item.st != "91":
            self._st = item.st
        segment = (
            f"QN={qn};ST={'91' if is_reply else self._st};CN={cn};PW=123456;MN={item.mn};"
            f"Flag={version << 2 | (not is_reply)};CP=&&{text}&&"
        ).encode()
        return b"##%04d%b%b\r\n" % (len(segment), segment, annex_a(segment))

    def _send(
        self,
        cn: str,
        text: str,
        item: Hj212Heard,
        writer: asyncio.StreamWriter,
        counts: Hj212Heard | None = None,
    ) -> None:
        frame = self._frame(cn, text, item)
        damage = self.faults.damage_every
        if damage and self._count % damage == 0:
            frame = frame[:20] + bytes((frame[20] ^ 1,)) + frame[21:]
            counts = None

        async def later() -> None:
            await asyncio.sleep(self.faults.late_s)
            self._write(writer, frame)
            if counts is not None:
                self.answered.append(counts)

        if self.faults.late_s:
            task = asyncio.create_task(later())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            self._write(writer, frame)
            if counts is not None:
                self.answered.append(counts)

    def _write(self, writer: asyncio.StreamWriter, frame: bytes) -> None:
        if not writer.is_closing():
            self.show(f"-> {frame.decode('utf-8', 'replace').strip()[:300]}")
            writer.write(frame)
