"""Whatever bytes come, an end of the link goes on in bounded memory; :mod:`tests.fuzz` runs it."""

from random import Random

from protocols.wire.errors import PeerError
from protocols.wire.link.end import MESSAGE, NO_EVENT, LinkEnd
from protocols.wire.link.file_sink import FileSink
from protocols.wire.link.file_source import FileSource
from protocols.wire.link.frame import HEADER, FrameWriter
from protocols.wire.link.messages import CONFIG, FILE, LOG, NO_FILE, SAMPLES

from .world import Picture, World, held_bytes

_LIMIT = 50_000
_TYPES = (0x10, 0x10, 0x11, 0x12, 0x13, 0x01, 0x02, 0x03, 0x04, 0x05)


class _Input:
    """Bytes that are used up one after the other."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def number(self, count: int = 1) -> int:
        self.at += count
        return int.from_bytes(self.data[self.at - count : self.at])

    def bytes(self) -> bytes:
        count = self.number() * 2
        self.at += count
        return self.data[self.at - count : self.at]

    def left(self) -> bool:
        return self.at < len(self.data)


class Target:
    """Both ends with an open session, and what their programs have."""

    def __init__(self) -> None:
        self.world = World(1)
        assert self.world.run(100, lambda: self.world.node.is_open and self.world.gateway.is_open)
        self.now_ms = self.world.now_ms
        self.picture = Picture(Random(1), 3000)
        self.source = FileSource(self.world.node, self.find)
        self.sink = FileSink(1, _LIMIT, self.write)
        self.written = 0
        self.size = held_bytes(self.world.node), held_bytes(self.world.gateway)

    def find(self, file: int) -> "Picture | int":
        return self.picture if file == 1 else NO_FILE

    def write(self, data: "bytes | bytearray | memoryview") -> None:
        self.written += len(data)
        assert self.written <= _LIMIT

    def step(self, data: _Input) -> None:
        """Do what the next bytes say."""
        operation = data.number()
        to_node = operation >> 7 == 0
        world = self.world
        end, other = (world.node, world.gateway) if to_node else (world.gateway, world.node)
        kind = operation % 8
        if kind <= 1:
            piece = data.bytes()
            end.feed(piece, len(piece), self.now_ms)
        elif kind <= 3:
            self.feed_frame(end, other, data)
        elif kind == 4:
            self.now_ms += data.number(2)
            self.exchange(bool(operation & 0x40), bool(operation & 0x20))
        elif kind == 5:
            message = data.bytes()[:229]
            end.send((CONFIG, FILE)[data.number() % 2], message)
            world.node.send((SAMPLES, LOG)[data.number() % 2], message)
        elif kind == 6:
            self.programs(data.number())
        else:
            self.files(data.bytes(), to_node)

    def feed_frame(self, end: LinkEnd, other: LinkEnd, data: _Input) -> None:
        """Feed a frame that is right as a frame, and sealed if there is a session."""
        kind = _TYPES[data.number() % len(_TYPES)]
        channel, sequence, payload = data.number(), data.number(2), data.bytes()[:480]
        writer = FrameWriter()
        writer.content[HEADER : HEADER + len(payload)] = payload
        size = writer.header(kind, channel % 8, sequence % 40, len(payload))
        if kind >= 0x10:
            session = other._session
            if session is None:
                return
            size = session.seal(writer.content, writer.view, size)
        length = writer.finish(size, True)
        end.feed(writer.tx, length, self.now_ms)

    def exchange(self, to_node: bool, to_gateway: bool) -> None:
        """Carry what is due, or lose it."""
        for end, other, passes in (
            (self.world.node, self.world.gateway, to_gateway),
            (self.world.gateway, self.world.node, to_node),
        ):
            for _ in range(200):
                length = end.poll(self.now_ms)
                if not length:
                    break
                assert length <= 512
                if passes:
                    other.feed(end.tx, length, self.now_ms)
            else:
                raise AssertionError("an end sends without an end")
            assert end.wait_ms(self.now_ms) >= 0

    def programs(self, number: int) -> None:
        """Let the programs take what there is."""
        for end in (self.world.node, self.world.gateway):
            while (event := end.next_event()) != NO_EVENT:
                if event == MESSAGE and end is self.world.node and end.channel == FILE:
                    self.source.take(end.message)
                elif event == MESSAGE and end.channel == FILE:
                    self.files(bytes(end.message), False)
        self.source.pump()
        self.world.gateway.taken(SAMPLES, self.world.gateway.mark + number - 128)

    def files(self, message: bytes, to_node: bool) -> None:
        """Give a message to one of the two that deal with files."""
        if to_node:
            self.source.take(message)
            return
        try:
            self.sink.take(message)
        except PeerError:
            self.written = 0
            self.sink = FileSink(1, _LIMIT, self.write)
            self.sink.request()


def one_input(data: bytes) -> None:
    """Play one input; AssertionError and every other error is a finding."""
    target = Target()
    left = _Input(data)
    while left.left():
        target.step(left)
    world = target.world
    assert (held_bytes(world.node), held_bytes(world.gateway)) == target.size


def noise(seed: int) -> bytes:
    """Return one input."""
    random = Random(seed)
    return random.randbytes(random.randrange(1, 3000))
