"""What the node application asks of a board, a role and a Modbus server core.

Read by type checkers only: on a node these are whatever the board hands in.
"""

from array import array
from typing import Protocol

from firmware.node.app import Node
from firmware.node.bank import Bank
from firmware.node.commission import Commission
from firmware.node.config import Config
from firmware.node.epoch import BootEpoch
from firmware.node.events import Events
from firmware.node.frames import EventFrame, SampleFrame
from firmware.node.identity import NodeKey
from firmware.node.reading import Reading
from firmware.node.schedule import Uptime
from firmware.node.serve import Server
from firmware.node.update import NodeUpdate
from firmware.sensors.ports import PartsBoard
from protocols.wire.modbus.server import RtuServer

class Line(Protocol):
    """The port of the RS-485 line."""

    async def receive(self, buf: bytearray, /) -> int:
        """Wait until something is there, read it; 0 or OSError: the line hung up."""

    def any(self) -> int:
        """Return a number above 0 if bytes wait to be read, else 0."""

    def readinto(self, buf: bytearray, nbytes: int, /) -> int | None:
        """Read what is there, at most ``nbytes``; never waits. 0 or None: nothing there."""

    def write(self, buf: memoryview, /) -> int | None:
        """Send."""

    def speed(self, baud: int, /) -> None:
        """Go on at another speed; what waits to be read or sent may be lost."""

class LinkPort(Protocol):
    """The port of the serial link. What it does raises OSError while the other end is gone."""

    def readinto(self, buf: bytearray, nbytes: int, /) -> int | None:
        """Read what is there, at most ``nbytes``; never waits. 0 or None: nothing there."""

    def write(self, buf: memoryview, /) -> int | None:
        """Take what there is room for and return how much; 0 or None: nothing. Never waits."""

class Wdt(Protocol):
    def feed(self) -> None: ...

class Files(Protocol):
    """What survives a power cut: small named contents, each replaced whole or not at all.

    A store that keeps older contents behind newer ones has an attribute ``lost``: True if damage
    was found where a newer content may have been than the one that is read.
    """

    directory: str  # where it is, for messages

    def read(self, name: str, /) -> bytes | None:
        """Return the content; None: there is none of that name."""

    def write(self, name: str, data: bytes | bytearray, /) -> bool:
        """Replace; True once it is on the medium.

        After False a read may give either content: a board may keep the new one in RAM.
        """

class Slots(Protocol):
    """Two slots for an application image; an update goes into the one that does not run.

    Numbers that are returned are reasons of ``protocols.wire.update.window``.
    """

    SIZE: int  # bytes of the longest image

    def status(self) -> tuple[int, int, int, int, int, int]:
        """Return running (0 base, 1 A, 2 B), version, floor, trial (0, 1), outcome, target slot."""

    def check(self, manifest: bytes, /) -> int:
        """Return 0 or why the image of this manifest is refused; changes nothing."""

    def erase(self) -> bool:
        """Erase the target; it may keep the processor for seconds."""

    def write(self, offset: int, data: bytes | bytearray | memoryview, /) -> bool:
        """Write to the target, whole words; equal bytes again are no error."""

    def blank(self, offset: int, size: int, /) -> bool:
        """Return whether the target is erased there."""

    def digest(self, size: int, /) -> bytes:
        """Return the SHA-256 of the target's first ``size`` bytes."""

    def order(self, manifest: bytes, /) -> int:
        """Have the next start take the target on trial; 0 or why not."""

    def confirm(self) -> bool:
        """Keep what runs on trial, and raise the floor."""

class NodeBoard(PartsBoard, Protocol):
    def unique_id(self) -> bytes:
        """Return the 12 bytes that the chip has from the factory."""

    def image_digest(self) -> bytes | None:
        """Return the SHA-256 of the image that runs; None: the board runs files as they are."""

    def store(self) -> Files:
        """Return the board's store; called once per boot."""

    def slots(self) -> Slots | None:
        """Return the slots for application images; None: this board has none."""

    def now_us(self) -> int:
        """Return ticks in us; they wrap, so only ``ticks_diff`` may compare them."""

    async def sleep_ms(self, ms: int, /) -> None: ...
    def line(self, baud: int, /) -> Line: ...
    def link(self, baud: int, /) -> LinkPort | None:
        """Open the port of the serial link; None: nothing is wired there."""

    def light(self, on: bool, /) -> None:
        """Switch the light that shows which board this is; nothing where there is none."""

    def wdt(self, timeout_ms: int, /) -> Wdt: ...
    def reset_cause(self) -> int:
        """Return 0 after power on, 1 after the pin or a command, 2 after the watchdog."""

    def heap(self) -> tuple[int, int]:
        """Return the bytes in use and free after a collection."""

    def medium(self) -> str:
        """Return what the store is on: "flash", "volatile", or "" of a board that is a process."""

    def last_fault(self) -> tuple[str, str, int, int, int, int, int] | None:
        """Return what ended the run before: kind, text, pc, lr, cfsr, address, uptime in ms."""

class Machine(NodeBoard, Protocol):
    """A board as :mod:`.run` uses it: what it was commissioned as, and how it starts anew."""

    def commission(self) -> Commission:
        """Return what the board was commissioned as. CommissionError."""

    def interrupted(self) -> None:
        """Get ready for a REPL: after Ctrl-C nothing feeds the watchdog until the next run."""

    def restart(self, node: Node) -> None:
        """Start anew because ``node`` has ended: by command, or with a failure.

        A chip resets or raises; a process returns once it is ready for its next boot.
        """

class Picture(Protocol):
    """``data[:length]`` is the last good JPEG, number ``number`` since boot (0: none).

    It does not change while ``held`` is set.
    """

    data: bytearray
    length: int
    number: int
    sha: bytes  # SHA-256 of it
    held: bool

class Role(Protocol):
    reading: Reading
    raw: array[int]  # what the part of each point gave at the last sample, see Part.raw
    image: Picture | None  # None: this role takes no pictures

    async def sample(self) -> None:
        """Fill ``reading``."""

    def graded(self) -> None:
        """Draw status and events from ``reading``, which has been graded."""

    async def run(self) -> None:
        """Serve parts that speak unasked, for ever."""

    def status(self) -> int:
        """Return status bits as of the last sample."""

    async def selftest(self) -> int:
        """Return the mask of failed checks, 8 bits."""

class Rtu(Protocol):
    """What :mod:`.serve` uses of ``protocols.wire.modbus.server.RtuServer``."""

    tx: bytearray

    def feed(self, data: bytearray, length: int, now_us: int, /) -> None: ...
    def poll(self, now_us: int, /) -> int: ...
    def wait_us(self, now_us: int, /) -> int: ...

class LinkedNode(Protocol):
    """What the serial link needs of the node that it belongs to."""

    board: NodeBoard
    uptime: Uptime
    config: Config
    epoch: BootEpoch
    key: NodeKey
    events: Events
    role: Role
    sample_frame: SampleFrame
    event_frame: EventFrame
    bank: Bank
    rtu: RtuServer

    def after_request(self) -> None:
        """Obey the command of a request that has been answered."""

class VisitedNode(UpdatedNode, Protocol):
    """What a technician's visit needs of the node that it belongs to."""

    config: Config
    bank: Bank
    rtu: RtuServer
    line: Line

class UpdatedNode(Protocol):
    """What an update needs of the node that it belongs to."""

    board: NodeBoard
    uptime: Uptime
    events: Events
    sample_frame: SampleFrame
    server: Server
    update: NodeUpdate | None
    failed_checks: int
