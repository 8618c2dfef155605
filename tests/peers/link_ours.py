"""The product's ends of the link behind the interface that the tests of the peer use."""

import hashlib
import os
from collections import deque
from collections.abc import Callable

from protocols.wire.link.end import CLOSED, MESSAGE, NO_EVENT, OPENED, REFUSED, TIMED, LinkEnd
from protocols.wire.link.file_source import FileSource
from protocols.wire.link.gateway import GatewayEnd
from protocols.wire.link.node import NodeEnd
from tests.peers.link_peer import FILE
from tests.peers.link_talk import Event

BAUD = 115_200


class _Ours:
    """Messages wait here while the end has no room for them: it drops nothing by itself."""

    def __init__(self, end: LinkEnd) -> None:
        self.end = end
        self.now = 0
        self.mark = 0
        self.files: FileSource | None = None
        self.waiting: dict[int, deque[bytes]] = {}

    @property
    def is_open(self) -> bool:
        return self.end.is_open

    def feed(self, data: bytes, now: int) -> None:
        self.now = now
        self.end.feed(data, len(data), now)

    def send(self, number: int, message: bytes) -> None:
        self.waiting.setdefault(number, deque()).append(message)

    def drop(self, number: int) -> None:
        self.waiting.pop(number, None)

    def taken(self, number: int) -> None:
        self.end.taken(number, self.mark)

    def close(self, reason: int) -> None:
        self.end.close(reason)

    def poll(self, now: int) -> bytes:
        for number, messages in self.waiting.items():
            while messages and self.end.send(number, messages[0]):
                messages.popleft()
        self.now = now
        if self.files is not None:
            self.files.pump()
        count = self.end.poll(now)
        return bytes(self.end.tx[:count])

    def next_event(self) -> Event | None:
        kind = self.end.next_event()
        if kind == OPENED:
            if self.files is not None:
                self.files.stop()
            return ("opened",)
        if kind == CLOSED:
            return ("closed", self.end.reason)
        if kind == REFUSED:
            return ("refused", self.end.reason)
        if kind == MESSAGE:
            self.mark = self.end.mark
            message = bytes(self.end.message)
            if self.end.channel == FILE and self.files is not None:
                self.files.take(message)
            return ("message", self.end.channel, message)
        if kind == TIMED:
            assert isinstance(self.end, GatewayEnd)
            return ("time", self.end.clock.offset_ms, self.end.clock.delay_ms)
        assert kind == NO_EVENT
        return None


class _Picture:
    """A file in memory, as a node has its last picture."""

    def __init__(self, data: bytes) -> None:
        self.number, self.size = 1, len(data)
        self.sha256 = hashlib.sha256(data).digest()
        self._data = data

    def read(self, offset: int, out: bytearray, at: int, count: int) -> int:
        piece = self._data[offset : offset + count]
        out[at : at + len(piece)] = piece
        return len(piece)


class OurNode(_Ours):
    def offer(self, data: bytes) -> None:
        """Send this picture to who asks for it."""
        picture = _Picture(data)
        self.files = FileSource(self.end, lambda file: picture if file == 1 else 1)

    def __init__(self, uid: bytes, map_id: int, epoch: int, key_id: int, key: bytes | None) -> None:
        end = NodeEnd(uid, map_id, epoch, key_id, key, os.urandom, lambda: self.now, baud=BAUD)
        super().__init__(end)


class OurGateway(_Ours):
    def __init__(
        self, check: Callable[[bytes, int], bytes | int], held: tuple[int, ...] = ()
    ) -> None:
        end = GatewayEnd(lambda hello: check(hello.uid, hello.key_id), os.urandom, held, baud=BAUD)
        super().__init__(end)
