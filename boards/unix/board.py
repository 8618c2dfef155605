"""The board that is a process: ttys for its ports, a directory for its flash.

Its console prints the lines of :mod:`firmware.node.console`, and when a boot ends by itself the
figures of that boot as ``ended_frames, ended_readings``. The first Ctrl-C on its input ends
sampling but not serving, the second the process. A restart (commanded, or because nothing made
progress any more) is a new boot within the same process.
"""

from micropython import const

from firmware.node.commission import CommissionError
from firmware.node.console import write_figures
from firmware.node.run import NodeRun
from firmware.node.store import Store
from firmware.roles import make_role

from . import port
from .bridge import CHANNELS, Bridge, BridgeAdc, BridgeI2c, BridgeOneWire
from .node_file import load
from .tty import NoUart, PortError, TtyLine, TtyLink, TtyUart

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from firmware.node.app import Node
    from firmware.node.ports import Slots

    from .node_file import NodeFile
    from .slots import FileSlots

POWER_ON = 0
COMMANDED = 1
WATCHDOG = 2

_CTRL_C = const(3)
_PART_BAUD = const(9600)  # of every serial part; the VC0706's 38400 means nothing on a pty
_PAUSE_MS = const(1000)  # before a boot that follows a failure: a broken node must not spin


class ConsoleInput:
    """Look for Ctrl-C on the process's input each time the node feeds its watchdog.

    A process has no watchdog of its own: the node ends by itself when it is overdue. SIGINT ends a
    run as well, but MicroPython raises out of the signal's handler: one that comes in the middle of
    a garbage collection leaves the heap locked for good.
    """

    def __init__(self) -> None:
        self._input = port.console_input()
        self._poll = None if self._input is None else port.poller(self._input, port.POLLIN)
        self._byte = bytearray(1)

    def feed(self) -> None:
        """Raise KeyboardInterrupt after a Ctrl-C. Nobody types after the end of the file."""
        while self._input is not None and self._poll is not None and self._poll.poll(0):
            if self._input.readinto(self._byte, 1) != 1:
                self._input = None
            elif self._byte[0] == _CTRL_C:
                raise KeyboardInterrupt


class UnixBoard:
    """The board that ``file`` describes. PortError if a tty cannot be opened."""

    def __init__(self, file: "NodeFile") -> None:
        self._file = file
        self._cause = POWER_ON
        self._open: list[TtyUart] = []
        self._start = port.ticks_ms()
        self.sleep_ms = port.sleep_ms  # as it is: a wrapper would take heap at every call
        self._bridge: Bridge | None = None
        self._input = ConsoleInput()
        self._slots: FileSlots | None = None

    def commission(self) -> "NodeFile":
        """Return the node's file, which is its commission."""
        return self._file

    def unique_id(self) -> bytes:
        """Return the file's: a process has no chip."""
        return self._file.uid or b""

    def image_digest(self) -> bytes | None:
        """Return None: the interpreter runs the files as they are."""
        return None

    def store(self) -> Store:
        """Return the files in the directory that the node's file names."""
        return Store(self._file.store)

    def slots(self) -> "Slots | None":
        """Return the slots in the node's store; None if its file has no release keys."""
        keys = self._file.release_keys
        if self._slots is None and keys is not None:
            from .slots import FileSlots  # most processes have none

            self._slots = FileSlots(self._file.store, self.store(), keys)
            self._slots.boot(False)
        return self._slots

    def now_ms(self) -> int:
        """Return milliseconds since boot, as a microcontroller's ticks count."""
        return port.ticks_diff(port.ticks_ms(), self._start)

    def now_us(self) -> int:
        """Return microseconds of a clock that wraps."""
        return port.ticks_us()

    def ticks_diff(self, a: int, b: int) -> int:
        """Return a - b, right across the wrap."""
        return port.ticks_diff(a, b)

    def line(self, baud: int) -> TtyLine:
        """Open the RS-485 line."""
        line = TtyLine(self._file.line, baud)
        self._open.append(line)
        return line

    def link(self, baud: int) -> "TtyLink | None":
        """Open the tty of the serial link; None if the file names none."""
        if self._file.link is None:
            return None
        link = TtyLink(self._file.link, baud)
        self._open.append(link)
        return link

    def uart(self, part: str) -> "TtyUart | NoUart":
        """Open the port of a part; silence if nothing is wired there."""
        path = self._file.parts.get(part)
        if path is None:
            return NoUart()
        uart = TtyUart(path, _PART_BAUD)
        self._open.append(uart)
        return uart

    def _wire(self) -> Bridge:
        if self._bridge is None:
            path = self._file.parts.get("bridge")
            uart = None
            if path is not None:
                uart = TtyUart(path, _PART_BAUD)
                self._open.append(uart)
            self._bridge = Bridge(uart, self)
        return self._bridge

    def i2c(self) -> BridgeI2c:
        """Return the I2C bus behind the bridge."""
        return BridgeI2c(self._wire())

    def onewire(self) -> BridgeOneWire:
        """Return the 1-Wire bus behind the bridge."""
        return BridgeOneWire(self._wire())

    def adc(self, channel: str) -> BridgeAdc:
        """Return an analog channel behind the bridge; ValueError for a name not in CHANNELS."""
        if channel not in CHANNELS:
            raise ValueError("adc channel: expected one of %s, got %s" % (CHANNELS, channel))
        return BridgeAdc(self._wire(), CHANNELS.index(channel))

    def light(self, on: bool) -> None:
        """Do nothing: a process has no light, its console shows that it blinks."""

    def wdt(self, timeout_ms: int) -> ConsoleInput:
        """Return what takes feeds."""
        return self._input

    def reset_cause(self) -> int:
        """Return 0 after power on, 1 after a command, 2 after a failure."""
        return self._cause

    def heap(self) -> "tuple[int, int]":
        """Return the bytes in use and free after a collection."""
        return port.heap()

    def medium(self) -> str:
        """Return "": a directory of the host is no medium."""
        return ""

    def last_fault(self) -> None:
        """Return None: a process that fails leaves nothing behind."""

    def interrupted(self) -> None:
        """Do nothing: no watchdog has to be fed meanwhile."""

    def restart(self, node: "Node") -> None:
        """Close every tty, as a reset would, and be ready for the next boot."""
        if node.failure:
            port.pause_ms(_PAUSE_MS)
        write_figures("ended", node)
        if self._slots is not None:
            self._slots.boot(bool(node.failure))
        for uart in self._open:
            uart.close()
        self._open = []
        self._bridge = None
        self._start = port.ticks_ms()
        self._cause = WATCHDOG if node.failure else COMMANDED


def main(arguments: "list[str]") -> int:
    """Run the process; return its exit status, 2 if the file or a tty cannot be used."""
    try:
        if len(arguments) != 2:
            raise CommissionError("usage: micropython boards/unix/main.py NODE.json")
        file = load(arguments[1])
        __import__("firmware.roles." + file.role)  # while the heap is still collected often
        port.collect_often(False)
        board = UnixBoard(file)
        node = NodeRun(lambda: board, make_role)
        node.run()
        node.serve()
    except KeyboardInterrupt:
        pass
    except (CommissionError, PortError) as error:
        print(error)
        return 2
    return 0
