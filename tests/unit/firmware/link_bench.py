"""A node's link server in memory and the gateway's end of it. Runs on both runtimes."""

import os

from firmware.node.link import LinkServer
from protocols.wire.link.end import CLOSED, MESSAGE, NO_EVENT, OPENED
from protocols.wire.link.gateway import GatewayEnd
from protocols.wire.link.handshake import NO_KEY
from protocols.wire.link.messages import CONFIG, FILE
from tests.unit.firmware.node_fakes import KEY, KEY_BYTES, Board, MemoryStore, make_node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from firmware.node.ports import LinkPort


class Port:
    """The node's port. ``room`` bounds what it takes until the next step; ``dead``: it hung up."""

    def __init__(self) -> None:
        self.to_node = bytearray()
        self.from_node = bytearray()
        self.room = 1 << 30
        self.dead = False

    def readinto(self, buf: bytearray, nbytes: int) -> int | None:
        if self.dead:
            raise OSError(5)
        if not self.to_node:
            return None
        count = min(nbytes, len(self.to_node))
        for index in range(count):
            buf[index] = self.to_node[index]
        self.to_node = self.to_node[count:]
        return count or None

    def write(self, buf: memoryview) -> int | None:
        if self.dead:
            raise OSError(5)
        count = min(len(buf), self.room - len(self.from_node))
        self.from_node += bytes(buf[:count])
        return count or None


class LinkBoard(Board):
    """A board with the port of a link."""

    def __init__(self, keyed: bool = True) -> None:
        Board.__init__(self, "nowhere")
        store = MemoryStore()
        if keyed:
            store.files["node.key"] = KEY
        self.files = store
        self.port = Port()
        self.fault: tuple[str, str, int, int, int, int, int] | None = None

    def link(self, baud: int) -> "LinkPort | None":
        return self.port

    def last_fault(self) -> "tuple[str, str, int, int, int, int, int] | None":
        return self.fault


class LinkBench:
    """A node and a gateway; the gateway's half is connected from :meth:`open` on."""

    def __init__(
        self, role: str = "air", keyed: bool = True, board: "LinkBoard | None" = None
    ) -> None:
        self.board = board or LinkBoard(keyed)
        self.node, self.role = make_node(self.board, role, {"link_baud_div_100": 1152})
        link = self.node.link
        assert link is not None
        self.link: LinkServer = link
        self.keyed = keyed
        self.now = 0
        self.connect()

    def connect(self) -> None:
        """A gateway that has just started."""
        key = KEY_BYTES if self.keyed else NO_KEY
        self.gateway = GatewayEnd(lambda hello: key, os.urandom, ())
        self.got: list[tuple[int, bytes]] = []  # channel and message
        self.events: list[tuple[int, int]] = []  # what else happened, and its reason

    def step(self, ms: int = 1) -> None:
        """Let time pass and move all bytes once each way."""
        self.board.jump(ms)
        self.now += ms
        self.link.turn()
        gateway = self.gateway
        data = bytes(self.board.port.from_node)
        self.board.port.from_node = bytearray()
        gateway.feed(data, len(data), self.now)
        event = gateway.next_event()
        while event != NO_EVENT:
            if event == MESSAGE:
                self.got.append((gateway.channel, bytes(gateway.message)))
            elif event in (OPENED, CLOSED):
                self.events.append((event, gateway.reason))
            event = gateway.next_event()
        count = gateway.poll(self.now)
        while count:
            self.board.port.to_node += gateway.tx[:count]
            count = gateway.poll(self.now)

    def steps(self, count: int) -> None:
        for _ in range(count):
            self.step()

    def until(self, condition: "Callable[[], bool]") -> None:
        """Step until it holds."""
        for _ in range(2000):
            if condition():
                return
            self.step()
        raise AssertionError("it did not come true within 2 s")

    def messages_of(self, channel: int, count: int) -> "list[bytes]":
        """Step until there are so many messages of a channel; return all there are."""
        self.until(lambda: len(self.messages(channel)) >= count)
        return self.messages(channel)

    def silence(self, ms: int) -> None:
        """Time in which nothing that is sent arrives."""
        for _ in range(ms // 100):
            self.board.jump(100)
            self.now += 100
            self.link.turn()
            self.board.port.from_node = bytearray()

    def open(self) -> None:
        """Step until the session is open at both ends."""
        self.until(lambda: self.gateway.is_open and self.link.end.is_open)

    def messages(self, channel: int) -> "list[bytes]":
        return [message for number, message in self.got if number == channel]

    def ask(self, channel: int, message: bytes, answers: int = 1) -> "list[bytes]":
        """Send a message and return the answers on its channel."""
        self.got = []
        assert self.gateway.send(channel, message)
        return self.messages_of(channel, answers)

    def config(self, pdu: bytes) -> bytes:
        answer = self.ask(CONFIG, b"\x12\x34" + pdu)[0]
        assert answer[:2] == b"\x12\x34"
        return answer[2:]

    def get(self, file: int, offset: int = 0, sha: bytes = bytes(32)) -> bytes:
        """Ask for a file; the first message of the answer."""
        return self.ask(FILE, bytes((1, file)) + offset.to_bytes(4, "big") + sha)[0]
