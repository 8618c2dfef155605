"""Two ends of the link in memory, with a wire between them and a clock that the test moves."""

from protocols.wire.link.end import CLOSED, MESSAGE, NO_EVENT, OPENED, LinkEnd
from protocols.wire.link.frame import HEADER, FrameWriter
from protocols.wire.link.gateway import GatewayEnd
from protocols.wire.link.handshake import Hello
from protocols.wire.link.node import NodeEnd

from .support import Lcg

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

KEY = bytes(range(32))
UID = bytes.fromhex("0123456789abcdef01234567")
MAP_ID = 0x0101
BOOT_EPOCH = 7
KEY_ID = 3
BOOTED_MS = 1_000_000  # of the node, before the gateway's clock began


class Wire:
    """A node and a gateway; ``now_ms`` is the gateway's clock.

    ``pass_on(to_node, frame)`` returns what of a frame's bytes arrives: all of it by default.
    """

    def __init__(
        self,
        keys: "Callable[[Hello], bytes | int] | None" = None,
        key: "bytes | None" = KEY,
        key_id: int = KEY_ID,
        seed: int = 1,
        baud: int = 0,
        largest: int = 512,
    ) -> None:
        self.now_ms = 0
        self._random = Lcg(seed)
        self.node = NodeEnd(
            UID,
            MAP_ID,
            BOOT_EPOCH,
            key_id,
            key,
            self.random,
            self.boot_ms,
            largest=largest,
            baud=baud,
        )
        self.gateway = GatewayEnd(keys or self.key, self.random, baud=baud)
        self.events: list[tuple[str, int]] = []  # "node" or "gateway", what
        self.at_node: list[tuple[int, bytes]] = []  # channel, message
        self.at_gateway: list[tuple[int, bytes]] = []
        self.frames: list[tuple[bool, bytes]] = []
        self.takes_over = True

    def key(self, hello: Hello) -> "bytes | int":
        return KEY

    def random(self, count: int) -> bytes:
        return bytes(self._random.bytes(count))

    def boot_ms(self) -> int:
        return self.now_ms + BOOTED_MS

    def pass_on(self, to_node: bool, frame: bytes) -> bytes:
        return frame

    def step(self) -> bool:
        """Carry what both have to send now, and take their events; False if there was nothing."""
        moved = False
        for end, other in ((self.node, self.gateway), (self.gateway, self.node)):
            length = end.poll(self.now_ms)
            if length:
                moved = True
                frame = bytes(end.tx[:length])
                self.frames.append((other is self.node, frame))
                data = self.pass_on(other is self.node, frame)
                other.feed(data, len(data), self.now_ms)
        self._take(self.node, "node", self.at_node)
        self._take(self.gateway, "gateway", self.at_gateway)
        return moved

    def _take(self, end: LinkEnd, name: str, messages: "list[tuple[int, bytes]]") -> None:
        while True:
            event = end.next_event()
            if event == NO_EVENT:
                return
            if event == MESSAGE:
                messages.append((end.channel, bytes(end.message)))
                if end is self.gateway and self.takes_over and end.channel in (1, 2):
                    end.taken(end.channel, end.mark)
            else:
                self.events.append((name, event))

    def run(self, ms: int) -> None:
        """Let time pass."""
        end_ms = self.now_ms + ms
        while True:
            while self.step():
                pass
            waits = [self.node.wait_ms(self.now_ms), self.gateway.wait_ms(self.now_ms)]
            wait = min([wait for wait in waits if wait >= 0] or [ms])
            assert wait > 0, "an end has nothing to send and does not wait"
            if self.now_ms + wait > end_ms:
                self.now_ms = end_ms
                return
            self.now_ms += wait

    def opened(self) -> "Wire":
        """Run until both have a session."""
        self.run(100)
        assert self.node.is_open
        assert self.gateway.is_open
        assert ("node", OPENED) in self.events
        assert ("gateway", OPENED) in self.events
        assert ("node", CLOSED) not in self.events
        return self


def plain(kind: int, payload: bytes) -> bytes:
    """Return a frame without counter and tag."""
    writer = FrameWriter()
    writer.content[HEADER : HEADER + len(payload)] = payload
    length = writer.finish(writer.header(kind, 0, 0, len(payload)), True)
    return bytes(writer.tx[:length])


def sealed(end: LinkEnd, kind: int, channel: int, sequence: int, payload: bytes) -> bytes:
    """Return the next session frame of an end, with a payload that it would not send itself."""
    session = end._session
    assert session is not None
    writer = FrameWriter()
    writer.content[HEADER : HEADER + len(payload)] = payload
    size = writer.header(kind, channel, sequence, len(payload))
    size = session.seal(writer.content, writer.view, size)
    length = writer.finish(size, True)
    return bytes(writer.tx[:length])
