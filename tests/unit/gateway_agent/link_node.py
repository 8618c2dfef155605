"""A node on a link for tests: frames as the page describes them, on a pty or a TCP connection.

Its half of the protocol is the product's NodeEnd, its frames are built by ``frames_of_nodes``; what
it pushed is counted here, outside the gateway.
"""

import asyncio
import contextlib
import hashlib
import os
import pty
import struct
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Self

from protocols.wire.link.end import MESSAGE, NO_EVENT, OPENED, REFUSED
from protocols.wire.link.messages import CONFIG, EVENTS, FILE, LOG, SAMPLES, pack_log
from protocols.wire.link.node import NodeEnd

from .frames_of_nodes import KEY, KEY_ID, UID, air_body, event_frame, seal

AIR_MAP = 0x0101


class LinkNode:
    """One boot of a node. ``clock_ms`` is its time since boot."""

    def __init__(
        self,
        epoch: int = 5,
        key: bytes | None = KEY,
        key_id: int = KEY_ID,
        uid: bytes = UID,
        map_id: int = AIR_MAP,
        period_ds: int = 1,
    ) -> None:
        self.epoch = epoch
        self.key = key
        self.key_id = key_id if key is not None else 0
        self.uid = uid
        self.period_ds = period_ds
        self.seq = 0
        self.dropped = 0  # samples that found no room
        self.events = 0
        self.files: dict[int, bytes] = {}
        self.file_error = 0  # reason for a NONE
        self.part_bytes = 100
        self.asked_from: list[int] = []  # offsets of GETs
        self.refused: list[int] = []
        self.opened = 0
        self.loop = asyncio.get_running_loop()
        self.born = self.loop.time() - 10
        self._write: Callable[[bytes], None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._rest: tuple[bytes, int] | None = None  # of the file that is sent
        self.end = NodeEnd(uid, map_id, epoch, self.key_id, key, os.urandom, self.clock_ms)

    def clock_ms(self) -> int:
        return int((self.loop.time() - self.born) * 1000)

    # --- what it measures -----------------------------------------------------------------------

    def measure(self, age_ms: int = 0) -> None:
        """Take a sample ``age_ms`` ago and push it."""
        self.seq += 1
        body = bytearray(air_body(self.epoch, self.seq, self.events))
        struct.pack_into(">I", body, 12, (self.clock_ms() - age_ms) & 0xFFFFFFFF)
        frame = seal(bytes(body), self.key or bytes(32), self.uid, self.key_id)
        if self.key is None:
            frame = frame[:-16] + bytes(16)
        if not self.end.send(SAMPLES, frame):
            assert self.end.drop_oldest(SAMPLES)
            assert self.end.send(SAMPLES, frame)
            self.dropped += 1
        self.pump()

    def event(self, code: int = 1, push: bool = True) -> None:
        """Note an event and push the frame."""
        self.events += 1
        if push:
            self.end.send(EVENTS, self.events_now(code))
            self.pump()

    def events_now(self, code: int = 1) -> bytes:
        return event_frame(self.epoch, self.events, (code,) * min(self.events, 16), self.clock_ms())

    def log(self, level: int, text: str) -> None:
        self.end.send(LOG, pack_log(level, self.clock_ms(), text))
        self.pump()

    # --- the wire -------------------------------------------------------------------------------

    def plug(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self.pump()

    def unplug(self) -> None:
        self._write = None

    def received(self, data: bytes) -> None:
        self.end.feed(data, len(data), self.clock_ms())
        self.pump()

    def pump(self) -> None:
        end = self.end
        while True:
            while (event := end.next_event()) != NO_EVENT:
                if event == OPENED:
                    self.opened += 1
                    self._rest = None
                elif event == REFUSED:
                    self.refused.append(end.reason)
                elif event == MESSAGE and end.channel == CONFIG:
                    self._config(bytes(end.message))
                elif event == MESSAGE and end.channel == FILE:
                    self._file(bytes(end.message))
            self._send_parts()
            size = end.poll(self.clock_ms()) if self._write else 0
            if not size or self._write is None:
                break
            self._write(bytes(end.tx[:size]))
        if self._timer is not None:
            self._timer.cancel()
        wait = end.wait_ms(self.clock_ms())
        self._timer = (
            self.loop.call_later(max(wait, 1) / 1000, self.pump)
            if wait >= 0 and self._write
            else None
        )

    def close(self) -> None:
        self.unplug()
        if self._timer is not None:
            self._timer.cancel()

    def _config(self, message: bytes) -> None:
        number, pdu = message[:2], message[2:]
        function, address, words = struct.unpack(">BHH", pdu)
        if function == 3 and words == 1:
            data = self.period_ds.to_bytes(2)
        elif function == 4 and address == 0x100:
            data = self.events_now()
        else:
            self.end.send(CONFIG, number + bytes((function | 0x80, 2)))
            return
        self.end.send(CONFIG, number + bytes((function, len(data))) + data)

    def _file(self, message: bytes) -> None:
        if message[0] == 2:
            self._rest = None
            return
        _, file, offset = struct.unpack(">BBI", message[:6])
        self.asked_from.append(offset)
        data = self.files.get(file)
        if data is None or self.file_error:
            self.end.send(FILE, bytes((5, file, self.file_error or 1)))
            return
        digest = hashlib.sha256(data).digest()
        if message[6:] not in (bytes(32), digest):
            self.end.send(FILE, bytes((5, file, 3)))
            return
        head = struct.pack(">BBII32sI", 3, file, 7, len(data), digest, offset)
        assert self.end.send(FILE, head)
        self._rest = data, offset

    def _send_parts(self) -> None:
        while self._rest is not None:
            data, at = self._rest
            part = data[at : at + self.part_bytes]
            if not part or not self.end.send(FILE, struct.pack(">BI", 4, at) + part):
                return
            self._rest = data, at + len(part)


class PtyWire:
    """A pty with the node at its master's side; ``path`` is the gateway's port."""

    def __init__(self, folder: Path, node: LinkNode) -> None:
        self.path = folder / "tty-link"
        self.node = node
        self._master = -1
        self.open()

    def open(self) -> None:
        self._master, slave = pty.openpty()
        tty.setraw(slave)
        self._slave = slave
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        self.path.symlink_to(os.ttyname(slave))
        os.set_blocking(self._master, False)
        asyncio.get_running_loop().add_reader(self._master, self._read)
        self.node.plug(self.write)

    def write(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            os.write(self._master, data)

    def _read(self) -> None:
        try:
            data = os.read(self._master, 4096)
        except OSError:
            return
        self.node.received(data)

    def close(self) -> None:
        """Pull the plug."""
        self.node.unplug()
        if self._master >= 0:
            asyncio.get_running_loop().remove_reader(self._master)
            os.close(self._master)
            os.close(self._slave)
            self._master = -1
            self.path.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self.node.close()


class Caller(asyncio.Protocol):
    """The node's side of a TCP connection, whoever began it."""

    def __init__(self, node: LinkNode) -> None:
        self.node = node
        self.transport: asyncio.Transport | None = None
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.node.plug(transport.write)

    def data_received(self, data: bytes) -> None:
        self.node.received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.node.unplug()
        self.lost.set()

    def close(self) -> None:
        if self.transport is not None:
            self.transport.abort()
        self.node.close()
