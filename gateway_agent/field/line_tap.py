"""Counts the bytes of one bus and, only while somebody looks, decodes what passes on it.

Without a viewer a request and its answer cost two additions. Each viewer has a bounded ring: who
reads too slowly loses the oldest frames, and is told how many; the bus waits for nobody.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, suppress
from typing import Final

from gateway_agent.config import Bus, TcpBus
from protocols.modbus_client.listener import BusListener, HeardFrame
from protocols.wire.crc import crc16

MAX_FRAMES: Final = 512  # that wait for one viewer
MAX_VIEWERS: Final = 8  # of one bus
_MBAP: Final = 6  # bytes before the unit
_MAX_MBAP: Final = 260


class ViewersError(Exception):
    """As many look at the bus as may."""


class LineTap:
    """What passed on one bus since the start, in bytes, and who looks at it."""

    def __init__(self, bus: Bus, now_ms: Callable[[], int]) -> None:
        self.sent_bytes = 0
        self.received_bytes = 0
        self._bus = bus
        self._now_ms = now_ms
        self._viewers: list[_Viewer] = []

    def sent(self, data: bytes) -> None:
        """Take a request."""
        self.sent_bytes += len(data)
        for viewer in self._viewers:
            viewer.take(data, self._now_ms())

    def received(self, data: bytes) -> None:
        """Take what came."""
        self.received_bytes += len(data)
        for viewer in self._viewers:
            viewer.take(data, self._now_ms())

    def end(self) -> None:
        """End what viewers see: the bus is gone."""
        for viewer in self._viewers:
            viewer.end()

    async def frames(self) -> AsyncGenerator[HeardFrame | int, None]:
        """Yield each frame as it passes, or how many were lost. ViewersError.

        Close the iterator (``contextlib.aclosing``) to look away.
        """
        if len(self._viewers) >= MAX_VIEWERS:
            raise ViewersError(f"{MAX_VIEWERS} viewers look at bus {self._bus.name}: close one")
        viewer = _Viewer(self._bus)
        self._viewers.append(viewer)
        try:
            async with aclosing(viewer.frames()) as frames:
                async for frame in frames:
                    yield frame
        finally:
            self._viewers.remove(viewer)


class _Viewer:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._listener = BusListener()
        self._held = b""
        self._ring: deque[HeardFrame] = deque(maxlen=MAX_FRAMES)
        self._lost = 0
        self._more = asyncio.Event()
        self._is_over = False

    def take(self, data: bytes, now_ms: int) -> None:
        for piece in self._as_rtu(data):
            for frame in self._listener.feed(piece, now_ms):
                self._lost += len(self._ring) == MAX_FRAMES
                self._ring.append(frame)
        self._more.set()

    def end(self) -> None:
        self._is_over = True
        self._more.set()

    async def frames(self) -> AsyncGenerator[HeardFrame | int, None]:
        while not self._is_over:
            self._more.clear()
            while self._ring:
                if self._lost:
                    lost, self._lost = self._lost, 0
                    yield lost
                yield self._ring.popleft()
            await self._more.wait()

    def _as_rtu(self, data: bytes) -> Iterator[bytes]:
        """Yield frames as they would be on an RTU line, which is what a listener reads."""
        if isinstance(self._bus, TcpBus):
            yield from self._of_tcp(data)
        elif self._bus.is_ascii:
            yield from self._of_ascii(data)
        else:
            yield data

    def _of_tcp(self, data: bytes) -> Iterator[bytes]:
        self._held = (self._held + data)[-2 * _MAX_MBAP :]
        while len(self._held) >= _MBAP:
            end = _MBAP + int.from_bytes(self._held[4:6])
            if not _MBAP + 2 <= end <= _MAX_MBAP:
                self._held, noise = b"", self._held
                yield noise
            elif len(self._held) < end:
                return
            else:
                yield _with_crc(self._held[_MBAP:end])
                self._held = self._held[end:]

    def _of_ascii(self, data: bytes) -> Iterator[bytes]:
        *lines, self._held = (self._held + data)[-2 * _MAX_MBAP * 2 :].split(b"\n")
        for line in lines:
            digits = line.strip().removeprefix(b":")
            with suppress(ValueError):
                yield _with_crc(bytes.fromhex(digits.decode("ascii", "replace"))[:-1])
                continue
            yield line


def _with_crc(frame: bytes) -> bytes:
    return frame + crc16(frame).to_bytes(2, "little")
