"""A node's surroundings in memory: store, board, line, role. Runs on both runtimes."""

import asyncio
import hashlib
import os
from array import array

from firmware.node.app import assemble
from firmware.node.bank import Bank
from firmware.node.commission import Commission
from firmware.node.config import Config
from firmware.node.epoch import BootEpoch
from firmware.node.events import Events
from firmware.node.frames import EventFrame, SampleFrame
from firmware.node.identity import NodeKey
from firmware.node.reading import Reading
from firmware.node.store import Store
from firmware.node.write_guard import WriteGuard
from protocols.wire.crc import crc16
from protocols.wire.registers import map_of_role

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.node.app import Node
    from firmware.node.ports import Files, LinkPort, Picture, Role, Slots

UID = bytes(range(12))
KEY = b'{"key_id": 7, "key": "' + b"5a" * 32 + b'"}'
KEY_BYTES = b"\x5a" * 32


class PowerCut(Exception):
    """The supply failed during a write."""


class MemoryStore:
    """A store in a dict. ``broken``: writes fail. ``cuts``: what the n-th write leaves behind.

    An entry of ``cuts`` maps (old content, new content) to what stands on the medium when the
    supply fails during that write; None: that write succeeds.
    """

    directory = "memory"

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.broken = False
        self.cuts: list[tuple[str, int] | None] = []
        self.writes = 0
        self.error = 0

    def read(self, name: str) -> bytes | None:
        return self.files.get(name)

    def write(self, name: str, data: bytes | bytearray) -> bool:
        self.writes += 1
        if self.broken:
            self.error = 28
            return False
        cut = self.cuts.pop(0) if self.cuts else None
        if cut is not None:
            if cut[0] == "new":
                self.files[name] = bytes(data)
            elif cut[0] == "torn":
                self.files[name] = bytes(data)[: cut[1]]
            raise PowerCut
        self.files[name] = bytes(data)
        return True


class Directory:
    """A new directory of the file system; :meth:`remove` when done."""

    def __init__(self) -> None:
        name = "".join(["%02x" % byte for byte in os.urandom(8)])
        self.path = (os.getenv("TMPDIR") or "/tmp") + "/node-test-" + name
        os.mkdir(self.path)

    def put(self, name: str, data: bytes) -> None:
        with open(self.path + "/" + name, "wb") as file:
            file.write(data)

    def get(self, name: str) -> bytes:
        with open(self.path + "/" + name, "rb") as file:
            return file.read()

    def names(self) -> "list[str]":
        return sorted(os.listdir(self.path))

    def delete(self, name: str) -> None:
        os.remove(self.path + "/" + name)

    def remove(self) -> None:
        for name in os.listdir(self.path):
            os.remove(self.path + "/" + name)
        os.rmdir(self.path)


class Line:
    """Both ends of a line: the test puts chunks into ``inbox`` and finds answers in ``outbox``."""

    def __init__(self) -> None:
        self.inbox: list[bytes] = []
        self.outbox: list[bytes] = []
        self.dead = False
        self.error: Exception | None = None
        self.speeds: list[int] = []

    async def receive(self, buf: bytearray) -> int:
        while not self.inbox and not self.dead:
            await asyncio.sleep(0)
        if self.dead:
            raise OSError(5)
        return self.readinto(buf, len(buf)) or 0

    def any(self) -> int:
        return len(self.inbox) + (1 if self.dead else 0)

    def readinto(self, buf: bytearray, nbytes: int) -> int | None:
        if self.error is not None:
            raise self.error
        if not self.inbox:
            return 0
        chunk = self.inbox.pop(0)
        assert len(chunk) <= nbytes
        for index in range(len(chunk)):
            buf[index] = chunk[index]
        return len(chunk)

    def write(self, buf: memoryview) -> int | None:
        self.outbox.append(bytes(buf))
        return len(buf)

    def speed(self, baud: int) -> None:
        self.speeds.append(baud)


class Wdt:
    def __init__(self) -> None:
        self.feeds = 0

    def feed(self) -> None:
        self.feeds += 1


class NoPart:
    """Any bus of a board on which nothing is connected."""

    def any(self) -> int:
        return 0

    def readinto(self, *_: object) -> int:
        return 0

    def write(self, buf: bytes | bytearray) -> int | None:
        return len(buf)

    def writeto(self, addr: int, buf: bytes | bytearray) -> int | None:
        raise OSError(19)

    def readfrom_into(self, addr: int, buf: bytearray) -> None:
        raise OSError(19)

    def reset(self) -> bool:
        return False

    def writebyte(self, value: int) -> None:
        raise OSError(19)

    def read_u16(self) -> int:
        raise OSError(19)


class Board:
    """A board whose time stands still until the test moves it with :meth:`run`.

    Its millisecond ticks wrap at 2**30 and start just before that.
    """

    def __init__(self, store_dir: str) -> None:
        self.files: Files = Store(store_dir)
        self.cause = 0
        self.app_slots: Slots | None = None
        self.rs485 = Line()
        self.dog = Wdt()
        self.lights: list[bool] = []
        self._ms = (1 << 30) - 500
        self._us = 0

    def unique_id(self) -> bytes:
        return UID

    def image_digest(self) -> bytes | None:
        return None

    def store(self) -> "Files":
        return self.files

    def slots(self) -> "Slots | None":
        return self.app_slots

    def now_ms(self) -> int:
        return self._ms & ((1 << 30) - 1)

    def now_us(self) -> int:
        return (self._ms * 1000) & ((1 << 30) - 1)

    def ticks_diff(self, a: int, b: int) -> int:
        return ((a - b + (1 << 29)) & ((1 << 30) - 1)) - (1 << 29)

    async def sleep_ms(self, ms: int) -> None:
        end = self._ms + ms
        while self._ms < end:
            await asyncio.sleep(0)

    async def run(self, ms: int) -> None:
        """Let ``ms`` of the board's time pass, 1 ms at a time, everyone having turns at each."""
        for _ in range(ms):
            self._ms += 1
            for _ in range(6):
                await asyncio.sleep(0)

    def jump(self, ms: int) -> None:
        """Time in which nobody had a turn."""
        self._ms += ms

    def line(self, baud: int) -> Line:
        return self.rs485

    def link(self, baud: int) -> "LinkPort | None":
        return None

    def light(self, on: bool) -> None:
        self.lights.append(on)

    def wdt(self, timeout_ms: int) -> Wdt:
        return self.dog

    def last_fault(self) -> "tuple[str, str, int, int, int, int, int] | None":
        return None

    def reset_cause(self) -> int:
        return self.cause

    def heap(self) -> "tuple[int, int]":
        return 11, 22

    def medium(self) -> str:
        return "flash"

    def uart(self, part: str) -> NoPart:
        return NoPart()

    def i2c(self) -> NoPart:
        return NoPart()

    def onewire(self) -> NoPart:
        return NoPart()

    def adc(self, channel: str) -> NoPart:
        return NoPart()


class StubRole:
    """A role whose values the test sets; ``takes_ms`` is how long a sample lasts."""

    def __init__(self, board: Board, name: str = "water") -> None:
        self.board = board
        self.map = map_of_role(name)
        self.reading = Reading(self.map)
        self.raw = array("H", bytes(2 * len(self.map.points)))
        self.image: Picture | None = None
        self.values = [100] * len(self.map.points)
        self.codes = bytearray(len(self.map.points))
        self.takes_ms = 0
        self.bits = 0
        self.failed = 0
        self.taken: list[int] = []
        self.grades: list[list[int]] = []  # qualities as they were graded
        self.error: Exception | None = None

    async def sample(self) -> None:
        self.taken.append(self.board._ms)
        if self.error is not None:
            raise self.error
        for index in range(len(self.values)):
            self.reading.quality[index] = self.codes[index]
            self.reading.raw[index] = self.values[index]
        if self.takes_ms:
            await self.board.sleep_ms(self.takes_ms)

    async def run(self) -> None:
        while True:
            await self.board.sleep_ms(20)

    def graded(self) -> None:
        self.grades.append(list(self.reading.quality))

    def status(self) -> int:
        return self.bits

    async def selftest(self) -> int:
        return self.failed


class Image:
    """A picture of 500 bytes."""

    def __init__(self) -> None:
        self.data = bytearray([(index * 7 + 1) & 0xFF for index in range(1024)])
        self.length = 500
        self.number = 3
        self.sha = hashlib.sha256(memoryview(self.data)[: self.length]).digest()
        self.held = False


class ImageRole(StubRole):
    """A camera with a picture."""

    def __init__(self, board: Board) -> None:
        StubRole.__init__(self, board, "camera")
        self.image = Image()


def make_bank(name: str = "air", commissioned: bool = False) -> Bank:
    """A bank of a role with nothing sampled yet; its unit id is 1, this boot's epoch 1."""
    store = MemoryStore()
    store.files["node.key"] = KEY
    key = NodeKey(store)
    board = Board("nowhere")
    role = ImageRole(board) if name == "camera" else StubRole(board, name)
    sample = SampleFrame(map_of_role(name), 1, UID, key)
    role.reading.grade(0xFFFF)
    sample.show_empty(role.reading, 0, 0)
    event_frame = EventFrame(1, UID, key)
    event_frame.show(Events(), 0, 0)
    guard_key = key if commissioned else NodeKey(MemoryStore())
    guard = WriteGuard(1, UID, guard_key, BootEpoch(store))
    return Bank(sample, event_frame, Config(store, {}), role, guard)


def make_node(board: Board, role: str, settings: "dict[str, int]") -> "tuple[Node, StubRole]":
    """A node of a commissioned board whose parts are a stub."""
    roles: list[StubRole] = []

    def make_role(name: str, board: Board, config: object, events: object) -> "Role":
        roles.append(ImageRole(board) if name == "camera" else StubRole(board, name))
        return roles[0]

    commission = Commission({"role": role, "settings": settings}).check()
    node = assemble(board, commission, make_role, False)  # type: ignore[arg-type]  # a stub takes the test's board only
    return node, roles[0]


def framed(pdu: bytes, unit: int = 1) -> bytes:
    """An RTU frame."""
    body = bytes((unit,)) + pdu
    crc = crc16(body)
    return body + bytes((crc & 0xFF, crc >> 8))
