"""A node's hot calls allocate nothing but what sealing and checking a frame frees again."""

from protocols.wire.link import frame
from protocols.wire.link.end import MESSAGE, NO_EVENT
from protocols.wire.link.file_source import FileSource
from protocols.wire.link.frame import ACK, HEADER, TIME, FrameWriter
from protocols.wire.link.messages import EVENTS, FILE, LOG, PICTURE, SAMPLES
from protocols.wire.link.node import NodeEnd
from protocols.wire.link.session import RIGHT, LinkSession
from tests.unit.firmware.fakes import growth, heap_locked

from .link_support import Wire


class Unsealed(LinkSession):
    """A session whose tags are zeros: without the hashes nothing is left that may allocate."""

    def seal(self, content: bytearray, view: memoryview, end: int) -> int:
        self.sent += 1
        for index in range(end, end + 12):
            content[index] = 0
        return end + 12

    def check(self, content: bytearray, view: memoryview, size: int) -> int:
        self.counter += 1
        return RIGHT


class Still:
    """A file that is read without a slice."""

    number = 1
    size = 100_000
    sha256 = bytes(32)

    def read(self, offset: int, out: bytearray, at: int, count: int) -> int:
        for index in range(at, at + count):
            out[index] = offset & 0xFF
        return count


def _unsealed(kind: int, channel: int, sequence: int, payload: bytes) -> bytes:
    writer = FrameWriter()
    writer.content[HEADER : HEADER + len(payload)] = payload
    end = writer.header(kind, channel, sequence, len(payload)) + 12
    length = writer.finish(end, True)
    return bytes(writer.tx[:length])


def _drained(node: NodeEnd, now_ms: int) -> int:
    count = 0
    while node.poll(now_ms):
        count += 1
    return count


class Work:
    """What a node does, with all of it made before the heap is locked."""

    def __init__(self) -> None:
        wire = Wire().opened()
        wire.run(3000)
        self.now_ms = wire.now_ms
        self.node = node = wire.node
        self.source = FileSource(node, self.find)
        self.source.take(b"\x01" + bytes((PICTURE,)) + bytes(36))
        self.source.pump()
        node._session = Unsealed(b"", b"", 512, 4096)
        self.message = bytearray(62)
        self.noise = b"\x00MicroPython\r\n>>> \x00\x05\x06\x00"
        self.acks = [
            _unsealed(ACK, SAMPLES, number, b"\x10\x00" + bytes(4)) for number in range(1, 4)
        ]
        self.acks.append(_unsealed(ACK, FILE, 0, b"\x10\x00\x00\x00\x00\x02"))
        self.question = _unsealed(TIME, 0, 0, bytes(9))
        self.sent = 0
        self.resent = 0

    def find(self, file: int) -> Still:
        return Still()

    def run(self) -> None:
        node = self.node
        for _ in range(8):
            node.send(SAMPLES, self.message)
            node.send(EVENTS, self.message)
            node.send(LOG, self.message, 20)
            self.sent += _drained(node, self.now_ms)
        for _ in range(60):
            node.send(SAMPLES, self.message)
        node.drop_oldest(SAMPLES)
        node.feed(self.noise, len(self.noise), self.now_ms)
        node.feed(self.question, len(self.question), self.now_ms)
        for ack in self.acks:
            node.feed(ack, len(ack), self.now_ms)
            self.source.pump()
            self.sent += _drained(node, self.now_ms)
        assert node.next_event() == NO_EVENT
        for _ in range(6):
            self.now_ms += node.wait_ms(self.now_ms)
            self.resent += _drained(node, self.now_ms)


def test_the_nodes_hot_calls_run_with_the_heap_locked() -> None:
    real = frame.crc32
    frame.crc32 = lambda view, end: 0
    try:
        work = Work()
        heap_locked(work.run)
    finally:
        frame.crc32 = real
    assert work.sent > 20
    assert work.resent > 10
    assert work.node.noise_bytes() == 19


def test_nothing_stays_on_the_heap() -> None:
    wire = Wire().opened()
    message = bytes(62)
    taken = [0]

    def work() -> None:
        for _ in range(50):
            wire.node.send(SAMPLES, message)
            now_ms = wire.now_ms = wire.now_ms + 20
            for end, other in ((wire.node, wire.gateway), (wire.gateway, wire.node)):
                while length := end.poll(now_ms):
                    other.feed(end.tx, length, now_ms)
                while (event := other.next_event()) != NO_EVENT:
                    if event == MESSAGE:
                        taken[0] += 1
                        wire.gateway.taken(SAMPLES, wire.gateway.mark)

    wire.run(10_000)  # eight times of the node's clock are kept
    assert growth(work) == 0
    assert taken[0] == 300
    assert wire.node.waiting(SAMPLES) == 0
