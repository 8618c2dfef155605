"""A node and a gateway over a wire with faults, in virtual time, with books that a test can check.

The books stand outside the ends: what the node made, and what the gateway's program committed.
"""

import hashlib
import heapq
import struct
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from protocols.wire.errors import PeerError
from protocols.wire.link.end import CLOSED, MESSAGE, NO_EVENT, OPENED, LinkEnd
from protocols.wire.link.file_sink import ASKED, RUNNING, WHOLE, FileSink
from protocols.wire.link.file_source import FileSource
from protocols.wire.link.gateway import GatewayEnd
from protocols.wire.link.handshake import Hello
from protocols.wire.link.messages import CONFIG, EVENTS, FILE, LOG, NO_FILE, PICTURE, SAMPLES
from protocols.wire.link.node import NodeEnd

KEY = bytes(range(32))
UID = bytes.fromhex("0123456789abcdef01234567")
TICKS = 1 << 16  # the node's milliseconds wrap every minute
STREAMS = (SAMPLES, EVENTS, LOG)
NUMBER = struct.Struct(">II")  # boot epoch, number


def ticks_diff(a: int, b: int) -> int:
    """Return a - b across the wrap of the node's clock."""
    return (a - b + TICKS // 2) % TICKS - TICKS // 2


@dataclass
class Faults:
    """What the wire does to a frame, each with a probability; ``byte`` is for each byte."""

    lose: float = 0.0
    double: float = 0.0
    late: float = 0.0  # passes up to 150 ms later, so that others overtake it
    byte: float = 0.0
    noise: float = 0.0
    cut: bool = False


class Picture:
    """A file that the node has."""

    def __init__(self, random: Random, size: int) -> None:
        self.data = random.randbytes(size)
        self.number = 1
        self.size = size
        self.sha256 = hashlib.sha256(self.data).digest()

    def read(self, offset: int, out: bytearray, at: int, count: int) -> int:
        """Read as a stored file does."""
        data = self.data[offset : offset + count]
        out[at : at + len(data)] = data
        return len(data)


class Books:
    """What was made and what was committed, by channel."""

    def __init__(self) -> None:
        self.made: dict[tuple[int, int], list[bytes]] = defaultdict(list)  # by boot epoch too
        self.committed: dict[int, list[bytes]] = {channel: [] for channel in STREAMS}
        self.dropped: dict[tuple[int, int], int] = defaultdict(int)
        self.repeats = 0

    def missing(self, channel: int, epoch: int) -> int:
        """Return how many are missing before the last that was committed; each has to be made."""
        made = self.made[channel, epoch]
        committed = self.of_boot(channel, epoch)
        if not committed:
            return 0
        places = {message: place for place, message in enumerate(made)}
        found = [places[message] for message in committed]
        assert found == sorted(set(found))
        return found[-1] + 1 - len(found)

    def complete(self, channel: int, epoch: int) -> bool:
        """Whether all was committed but what the node dropped; some of that may have been too."""
        made = self.made[channel, epoch]
        committed = self.of_boot(channel, epoch)
        return len(made) - len(committed) <= self.dropped[channel, epoch]

    def commit(self, channel: int, message: bytes) -> None:
        """Commit a message, unless its number was committed before."""
        stream = self.committed[channel]
        if stream and NUMBER.unpack_from(message) <= NUMBER.unpack_from(stream[-1]):
            self.repeats += 1
            return
        stream.append(message)

    def of_boot(self, channel: int, epoch: int) -> list[bytes]:
        """Return what was committed of one boot of the node."""
        return [
            message
            for message in self.committed[channel]
            if NUMBER.unpack_from(message)[0] == epoch
        ]


class World:
    """Node, wire, gateway; ``now_ms`` is the time of all of them."""

    def __init__(self, seed: int, baud: int = 115_200, commit_ms: int = 20) -> None:
        self.random = Random(seed)
        self.now_ms = 0
        self.baud = baud
        self.commit_ms = commit_ms
        self.faults = Faults()
        self.books = Books()
        self.epoch = 0
        self.picture: Picture | None = None
        self.stored = bytearray()
        self.sink: FileSink | None = None
        self.broken = 0
        self.asked: list[int] = []  # numbers of requests without an answer, oldest first
        self.requests = 0
        self.answers = 0
        self.unanswered = 0
        self.sessions = {"node": 0, "gateway": 0}
        self._order = 0
        self._arrivals: list[tuple[int, int, bool, bytes]] = []
        self._commits: list[tuple[int, int, int, int, bytes]] = []
        self.start_node()
        self.start_gateway()

    # --- starts -----------------------------------------------------------------------------

    def start_node(self) -> None:
        """Start the node, which forgets all that the gateway has not taken over."""
        self.epoch += 1
        self.numbers = dict.fromkeys(STREAMS, 0)
        epoch = self.epoch
        self.node = NodeEnd(
            UID,
            0x0101,
            epoch,
            3,
            KEY,
            self.random.randbytes,
            lambda: self.now_ms,
            queues={SAMPLES: 2048, EVENTS: 512, CONFIG: 256, FILE: 1024, LOG: 256},
            largest=self.random.choice((256, 300, 512)),
            baud=self.baud,
            ticks_diff=ticks_diff,
        )
        self.source = FileSource(self.node, self._find)
        self.node_bytes = held_bytes(self.node)

    def start_gateway(self) -> None:
        """Start the gateway's program, which forgets all that it has not committed."""
        self.gateway = GatewayEnd(self._key, self.random.randbytes, baud=self.baud)
        self.gateway_bytes = held_bytes(self.gateway)
        self._commits.clear()
        self.unanswered += len(self.asked)
        self.asked.clear()
        if self.sink is not None and self.picture is not None:
            self.sink = FileSink(PICTURE, 100_000, self._store, self.picture.sha256)
            self.sink.resume(self.stored)

    def _key(self, hello: Hello) -> bytes:
        return KEY

    def _find(self, file: int) -> "Picture | int":
        return self.picture or NO_FILE

    def _store(self, data: bytes | bytearray | memoryview) -> None:
        self.stored += data

    # --- what the programs do ---------------------------------------------------------------

    def push(self, channel: int, size: int, drop: bool = False) -> bool:
        """Make a message of a stream at the node; False if the queue has no room.

        With ``drop`` it drops its oldest until there is room, as a node does with samples.
        """
        message = NUMBER.pack(self.epoch, self.numbers[channel]) + bytes(size)
        while not self.node.send(channel, message):
            if not (drop and self.node.drop_oldest(channel)):
                return False
            self.books.dropped[channel, self.epoch] += 1
        self.numbers[channel] += 1
        self.books.made[channel, self.epoch].append(message)
        return True

    def ask(self) -> bool:
        """Send a request to the node; False if there is no session or no room."""
        if not self.gateway.send(CONFIG, struct.pack(">HB", self.requests % 65536, 3)):
            return False
        self.asked.append(self.requests)
        self.requests += 1
        return True

    def fetch(self, size: int) -> None:
        """Take a picture and ask for it."""
        self.picture = Picture(self.random, size)
        self.stored.clear()
        self.sink = FileSink(PICTURE, 100_000, self._store)
        self.gateway.send(FILE, self.sink.request())

    def _node_events(self) -> None:
        node = self.node
        while (event := node.next_event()) != NO_EVENT:
            if event == OPENED:
                self.sessions["node"] += 1
            elif event == CLOSED:
                self.source.stop()
            elif event == MESSAGE and node.channel == CONFIG:
                if node.room(CONFIG) >= len(node.message):
                    node.send(CONFIG, node.message)
            elif event == MESSAGE and node.channel == FILE:
                self.source.take(node.message)
        self.source.pump()

    def _gateway_events(self) -> None:
        gateway = self.gateway
        while (event := gateway.next_event()) != NO_EVENT:
            if event == OPENED:
                self.sessions["gateway"] += 1
                if self.sink is not None and self.sink.state in (ASKED, RUNNING):
                    gateway.send(FILE, self.sink.request())
            elif event == CLOSED:
                self.unanswered += len(self.asked)
                self.asked.clear()
            elif event == MESSAGE:
                self._gateway_message(gateway.channel, bytes(gateway.message))

    def _gateway_message(self, channel: int, message: bytes) -> None:
        if channel in (SAMPLES, EVENTS):
            self._order += 1
            when = self.now_ms + self.commit_ms
            heapq.heappush(self._commits, (when, self._order, channel, self.gateway.mark, message))
        elif channel == LOG:
            self.books.commit(channel, message)
        elif channel == CONFIG:
            assert self.asked, "an answer to no request of this session"
            number = self.asked.pop(0)
            assert message == struct.pack(">HB", number % 65536, 3)
            self.answers += 1
        elif channel == FILE and self.sink is not None:
            try:
                self.sink.take(message)
            except PeerError:
                self.broken += 1

    # --- time -------------------------------------------------------------------------------

    def run(self, ms: int, until: Callable[[], bool] = lambda: False) -> bool:
        """Let time pass until ``until()``; True if that came."""
        end_ms = self.now_ms + ms
        while not until():
            self._settle()
            waits = [
                self.node.wait_ms(self.now_ms % TICKS),
                self.gateway.wait_ms(self.now_ms),
                self._arrivals[0][0] - self.now_ms if self._arrivals else -1,
                self._commits[0][0] - self.now_ms if self._commits else -1,
            ]
            # An end that never waits would stand still here: 1 ms passes at least.
            wait = max(1, min([wait for wait in waits if wait >= 0] or [ms]))
            if self.now_ms + wait > end_ms:
                self.now_ms = end_ms
                self._settle()
                return until()
            self.now_ms += wait
        return True

    def _settle(self) -> None:
        """Do all that is due now."""
        while self._commits and self._commits[0][0] <= self.now_ms:
            _, _, channel, mark, message = heapq.heappop(self._commits)
            self.books.commit(channel, message)
            self.gateway.taken(channel, mark)
        while self._arrivals and self._arrivals[0][0] <= self.now_ms:
            _, _, to_node, data = heapq.heappop(self._arrivals)
            if to_node:
                self.node.feed(data, len(data), self.now_ms % TICKS)
                self._node_events()
            else:
                self.gateway.feed(data, len(data), self.now_ms)
                self._gateway_events()
        for _ in range(1000):
            sent = self._send(self.node, self.now_ms % TICKS)
            sent = self._send(self.gateway, self.now_ms) or sent
            if not sent:
                break
        else:
            raise AssertionError("an end sends without an end")
        self._node_events()
        self._gateway_events()

    def _send(self, end: LinkEnd, now_ms: int) -> bool:
        length = end.poll(now_ms)
        if not length:
            return False
        assert length <= 512
        to_node = end is self.gateway
        faults = self.faults
        random = self.random
        data = bytearray(end.tx[:length])
        when = self.now_ms + 1 + (length * 10_000 // self.baud if self.baud else 0)
        if faults.cut or random.random() < faults.lose:
            return True
        if faults.noise and random.random() < faults.noise:
            self._arrive(when, to_node, random.randbytes(random.randrange(1, 700)))
        if faults.byte:
            for index in range(length):
                if random.random() < faults.byte:
                    data[index] ^= 1 << random.randrange(8)
        if random.random() < faults.late:
            when += random.randrange(1, 150)
        self._arrive(when, to_node, bytes(data))
        if random.random() < faults.double:
            self._arrive(when + random.randrange(150), to_node, bytes(data))
        return True

    def _arrive(self, when: int, to_node: bool, data: bytes) -> None:
        self._order += 1
        heapq.heappush(self._arrivals, (when, self._order, to_node, data))

    # --- what has to hold -------------------------------------------------------------------

    def done(self) -> bool:
        """Whether all that was made is committed, answered and whole."""
        books = self.books
        return (
            all(books.complete(channel, self.epoch) for channel in STREAMS)
            and not self.asked
            and (self.sink is None or self.sink.state not in (ASKED, RUNNING))
            and not any(self.node.waiting(channel) for channel in (*STREAMS, CONFIG, FILE))
            and not any(self.gateway.waiting(channel) for channel in (CONFIG, FILE))
        )

    def check(self) -> None:
        """Fail if something came twice, out of order or damaged, or if memory has grown."""
        for channel in STREAMS:
            # The end of what a boot made may be lost with it; the boot epoch names that.
            inside = []
            for epoch in range(1, self.epoch + 1):
                missing = self.books.missing(channel, epoch)
                assert missing <= self.books.dropped[channel, epoch], channel
                inside += self.books.of_boot(channel, epoch)
            assert self.books.committed[channel] == inside, channel
        assert self.broken == 0
        if self.sink is not None and self.picture is not None and self.sink.state == WHOLE:
            assert bytes(self.stored) == self.picture.data
        assert self.answers + self.unanswered + len(self.asked) == self.requests
        assert held_bytes(self.node) == self.node_bytes
        assert held_bytes(self.gateway) == self.gateway_bytes

    def heal(self, within_ms: int = 60_000) -> None:
        """End all faults; everything has to be delivered soon."""
        self.faults = Faults()
        assert self.run(within_ms, self.done), self.state()
        self.check()

    def state(self) -> str:
        """Return what is missing, for a failed test."""
        books = self.books
        missing = [
            len(books.made[channel, self.epoch]) - len(books.of_boot(channel, self.epoch))
            for channel in STREAMS
        ]
        return (
            f"missing {missing}, asked {self.asked}, sink {self.sink and vars(self.sink)}, "
            f"node {vars(self.node.counters)}, gateway {vars(self.gateway.counters)}, "
            f"open {self.node.is_open} {self.gateway.is_open}"
        )


def held_bytes(thing: object, seen: "set[int] | None" = None) -> int:
    """Return the items of all buffers that an end holds, however deep."""
    seen = set() if seen is None else seen
    if id(thing) in seen:
        return 0
    seen.add(id(thing))
    count = len(thing) if isinstance(thing, bytearray | list | dict) else 0
    if isinstance(thing, list | tuple):
        return count + sum(held_bytes(item, seen) for item in thing)
    if type(thing).__module__.startswith("protocols.wire.link"):
        own = ("_session", "_pending", "clock")  # there or not, each of one size
        fields = [item for name, item in vars(thing).items() if name not in own]
        return count + sum(held_bytes(item, seen) for item in fields)
    return count
