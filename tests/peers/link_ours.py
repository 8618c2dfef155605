"""The product's ends of the link behind the interface that the tests of the peer use."""

import os
from collections import deque
from collections.abc import Callable

from protocols.wire.link.end import CLOSED, MESSAGE, NO_EVENT, OPENED, REFUSED, TIMED, LinkEnd
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
        #: Gives the next part of a file for so much room, nothing behind its end.
        self.source: Callable[[int], bytes] | None = None
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
        while self.source is not None and (room := self.end.room(FILE)):
            part = self.source(room)
            if not part or not self.end.send(FILE, part):
                break
        count = self.end.poll(now)
        return bytes(self.end.tx[:count])

    def next_event(self) -> Event | None:
        kind = self.end.next_event()
        if kind == OPENED:
            self.source = None  # what was asked for in the session before is not wanted any more
            return ("opened",)
        if kind == CLOSED:
            return ("closed", self.end.reason)
        if kind == REFUSED:
            return ("refused", self.end.reason)
        if kind == MESSAGE:
            self.mark = self.end.mark
            return ("message", self.end.channel, bytes(self.end.message))
        if kind == TIMED:
            assert isinstance(self.end, GatewayEnd)
            return ("time", self.end.clock.offset_ms, self.end.clock.delay_ms)
        assert kind == NO_EVENT
        return None


class OurNode(_Ours):
    def __init__(self, uid: bytes, map_id: int, epoch: int, key_id: int, key: bytes | None) -> None:
        end = NodeEnd(uid, map_id, epoch, key_id, key, os.urandom, lambda: self.now, baud=BAUD)
        super().__init__(end)


class OurGateway(_Ours):
    def __init__(
        self, check: Callable[[bytes, int], bytes | int], held: tuple[int, ...] = ()
    ) -> None:
        end = GatewayEnd(lambda hello: check(hello.uid, hello.key_id), os.urandom, held, baud=BAUD)
        super().__init__(end)
