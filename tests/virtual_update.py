"""A bus of nodes in virtual time: real register banks and cores, a gateway's session, no waiting.

Nodes answer what the session asks through the RTU core that they run; bytes take the time that they
take on the line. Polls of the nodes fall due as on a site, by the agent's own schedule. Used by
tests and by the bench.
"""

import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway_agent.config import ProfileDevice, SerialBus
from gateway_agent.field.planner import poll_ms
from gateway_agent.field.schedule import PollSchedule, Slot
from gateway_agent.keys import SharedKey
from gateway_agent.update.bus_update import Ask, BusUpdate
from gateway_agent.update.image import SignedImage
from gateway_agent.update.node_session import NodeSession, UpdateTarget
from protocols.modbus_client import Read, RtuClient, read_request
from protocols.wire.modbus.pdu import EXCEPTION, READ_INPUT
from protocols.wire.registers import map_of_role
from protocols.wire.update.image_manifest import Manifest
from tests.unit.firmware.node_fakes import KEY_BYTES, UID
from tests.unit.firmware.update_bench import UpdateBench

SEED = bytes(range(32))
ERASE_MS = 2000
BOOT_MS = 3000
WORDS = map_of_role("water").words


def image(size: int, version: int = 5, seed: bytes = SEED, **changed: bytes) -> SignedImage:
    """Return a signed image, laid out with struct alone."""
    content = random.Random(size).randbytes(size)
    key = Ed25519PrivateKey.from_private_bytes(seed)
    name = sha256(key.public_key().public_bytes_raw()).digest()[:4]
    signed = struct.pack(
        ">4sBBBB16sIII8sI32s4s12s",
        *(b"TFU1", 1, 0, 1, 1, changed.get("board", b"unix"), version, 0, 0),
        *(changed.get("abi", b"unix\x00\x00\x00\x01"), size, sha256(content).digest(), name),
        bytes(12),
    )
    return SignedImage(Manifest(signed + key.sign(signed)), content)


@dataclass(eq=False)
class VirtualNode:
    """A node; it is deaf until ``deaf_until``, while it erases or starts."""

    unit: int
    bench: UpdateBench
    deaf_until: float = 0.0
    samples: int = 0
    boots: int = 1
    erases: int = 0

    def hear(self, frame: bytes, now_ms: float) -> bytes:
        """Take a frame; return the answer, empty if there is none."""
        if now_ms < self.deaf_until:
            return b""
        node = self.bench.node
        board = self.bench.board
        start = getattr(self, "_start", None)
        if start is None:
            start = self._start = now_ms
        board.jump(max(0, round(now_ms - start) - node.uptime.ms()))
        node.rtu.feed(bytearray(frame), len(frame), board.now_us())
        board.jump(5)
        count = node.rtu.poll(board.now_us())
        answer = bytes(node.rtu.tx[:count]) if count > 0 else b""
        if count > 0:
            node.server.polls += 1
        erasing = node.update is not None and node.update._state == 1
        if count:
            node.after_request()
        if erasing:
            self.erases += 1
            self.deaf_until = now_ms + ERASE_MS
        if node.outcome:
            self.reset(now_ms)
        return answer

    def reset(self, now_ms: float, after_failure: bool = False) -> None:
        """Start anew."""
        self.bench.boot(after_failure)
        self.bench.poll_and_sample(0)
        self.boots += 1
        self._start = now_ms
        self.deaf_until = now_ms + BOOT_MS


@dataclass
class VirtualBus:
    """The line, its nodes, and the time. ``faults``: share of bytes that are damaged."""

    units: Sequence[int]
    baud: int = 9600
    period_ms: int = 5000
    faults: float = 0.0
    now: float = 0.0
    seed: int = 1
    nodes: list[VirtualNode] = field(default_factory=list)
    polls: int = 0
    away: int = 0  # polls that were not made because the node was updated
    unanswered: int = 0
    late: int = 0  # polls that began more than 1 ms after they fell due
    late_ms: float = 0.0  # of the latest poll
    skipped: int = 0  # polls that were never made, because a later one was due
    lost: set[bytes] = field(default_factory=set)  # beginnings of requests whose answer is lost

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.bus = SerialBus(name="b", port="x", baudrate=self.baud, device=())
        for unit in self.units:
            bench = UpdateBench()
            bench.unit = unit
            bench.boot()
            bench.poll_and_sample(0)
            self.nodes.append(VirtualNode(unit, bench))
        poll = poll_ms(
            self.bus, ProfileDevice(name="p", unit=1, profile="x"), (Read(READ_INPUT, 0, WORDS),)
        )
        self.poll_ms = poll
        starts = [round(at * self.period_ms / len(self.units)) for at in range(len(self.units))]
        self.schedule = PollSchedule([Slot(self.period_ms, start, start) for start in starts])

    def close(self) -> None:
        """Remove what the nodes have on the medium."""
        for node in self.nodes:
            node.bench.close()

    def targets(self) -> list[UpdateTarget]:
        """Return the nodes as the gateway has them."""
        return [
            UpdateTarget(f"n{unit}", f"n{unit}", unit, UID, SharedKey(7, KEY_BYTES))
            for unit in self.units
        ]

    def work(self, content: SignedImage, session: int = 77, nodes: int | None = None) -> BusUpdate:
        """Return an update of the first ``nodes`` nodes, all by default."""
        targets = self.targets()[:nodes]
        sessions = [NodeSession(one, content, session, round(self.now)) for one in targets]
        return BusUpdate(self.bus, content, session, sessions)

    def run(self, *works: BusUpdate, until_ms: float = 3_600_000) -> None:
        """Poll, and update between the polls, until all is over or the time has come."""
        while not all(work.is_over for work in works) and self.now < until_ms:
            self.turn(works)

    def turn(self, works: Sequence[BusUpdate]) -> None:
        """Do what the agent's poller does in one turn of its loop."""
        index, _, wait = self.schedule.next(round(self.now))
        if not wait:
            self._poll(index, works)
            return
        pauses = [wait]
        for work in works:
            if work.is_over:
                continue
            ask, pause = work.next(round(self.now), wait)
            if ask is not None:
                self._ask(work, ask)
                return
            pauses.append(pause)
        self.now += min(pauses)

    def _poll(self, index: int, works: Sequence[BusUpdate]) -> None:
        node = self.nodes[index]
        due = self.schedule.slots[index].due
        self.late_ms = max(self.late_ms, self.now - due)
        self.late += self.now - due > 1
        self.polls += 1
        if any(work.away(f"n{node.unit}", round(self.now)) for work in works):
            self.away += 1
        else:
            request = read_request(node.unit, Read(READ_INPUT, 0, WORDS))
            answer = self._exchange(request.adu, node.unit)
            if answer:
                node.samples += 1
                for work in works:
                    work.polled(f"n{node.unit}")
            else:
                self.unanswered += 1
            self.now += self.poll_ms + (0 if answer else self.bus.timeout_ms)
        self.skipped += self.schedule.polled(index, round(self.now), False)

    def _ask(self, work: BusUpdate, ask: Ask) -> None:
        start = self.now
        node = ask.node
        unit = 0 if node is None else node.target.unit
        answer = self._exchange(ask.request.adu, unit)
        self.now += work.usual_ms(ask)
        if node is not None:
            client = RtuClient()
            client.send(ask.request)
            pdu = client.feed(answer) if answer else None
            if pdu is None:
                self.now += min(
                    self.bus.timeout_ms, start + ask.within_ms - self.now
                )  # what it took
                node.silent(round(self.now))
            elif pdu[0] & EXCEPTION:
                node.refused(pdu[1], round(self.now))
            elif ask.block is not None:
                node.block_taken(ask.block, round(self.now))
            else:
                node.answered(b"" if ask.request.read is None else pdu[2:], round(self.now))
        work.over(ask, round(start), round(self.now))

    def _exchange(self, frame: bytes, unit: int) -> bytes:
        answer = b""
        for node in self.nodes:
            said = node.hear(self._damaged(frame), self.now)
            if node.unit == unit:
                answer = said
        if any(frame[1:].startswith(start) for start in self.lost):
            return b""
        return self._damaged(answer)

    def _damaged(self, frame: bytes) -> bytes:
        if not self.faults:
            return frame
        chance = self.random.random
        return bytes(
            byte ^ 1 << self.random.randrange(8) if chance() < self.faults else byte
            for byte in frame
        )
