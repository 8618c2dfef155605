"""The board that is a process: ttys for its ports, a directory for its flash."""

from micropython import const

from firmware.node.store import Store

from . import port
from .bridge import CHANNELS, Bridge, BridgeAdc, BridgeI2c, BridgeOneWire

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from .port import Stream
    from .spec import Spec

POWER_ON = 0
COMMANDED = 1
WATCHDOG = 2

_PART_BAUD = const(9600)  # of every serial part; the VC0706's 38400 means nothing on a pty
_DRAIN_READS = const(64)


class PortError(Exception):
    """A tty cannot be used; the text says which."""


class NoUart:
    """The port of a part that is not there: silence."""

    def any(self) -> int:
        """Never anything."""
        return 0

    def readinto(self, buf: bytearray, nbytes: int) -> int | None:
        """Never anything."""
        return 0

    def write(self, buf: bytes | bytearray | memoryview) -> int | None:
        """Goes nowhere."""
        return len(buf)


class TtyUart:
    """A port on a tty; a tty that hung up reads as silence, so a part can be plugged again."""

    def __init__(self, path: str, baud: int) -> None:
        try:
            self.stream: Stream = port.open_tty(path, baud)
        except OSError as error:
            raise PortError(
                "%s: expected a tty that can be opened for reading and writing (%s)" % (path, error)
            )
        self._poll = port.poller(self.stream, port.POLLIN)
        self._scrap = bytearray(64)

    def any(self) -> int:
        """1 when a read would find something (or a hang-up), else 0."""
        return 1 if self._poll.poll(0) else 0

    def wait(self, limit_ms: int) -> bool:
        """Block until something can be read; False after ``limit_ms``."""
        return bool(self._poll.poll(limit_ms))

    def readinto(self, buf: bytearray, nbytes: int) -> int | None:
        """Read what is there, at most ``nbytes``; never waits."""
        return self.stream.readinto(buf, nbytes)

    def readinto_at(self, buf: bytearray, at: int, nbytes: int) -> int:
        """The same into ``buf[at:]``; the number of bytes. ETIMEDOUT-like silence is 0."""
        part = bytearray(nbytes)
        count = self.stream.readinto(part, nbytes) or 0
        for index in range(count):
            buf[at + index] = part[index]
        return count

    def write(self, buf: bytes | bytearray | memoryview) -> int | None:
        """Send; OSError if the other end is gone."""
        return self.stream.write(buf)

    def drain(self) -> None:
        """Throw away what waits to be read, up to a bound a babbling end cannot move."""
        for _ in range(_DRAIN_READS):
            if not self.stream.readinto(self._scrap, len(self._scrap)):
                return

    def close(self) -> None:
        """Give the tty back."""
        self.stream.close()


class Line(TtyUart):
    """The RS-485 line: a tty the event loop can wait on."""

    def __init__(self, path: str, baud: int) -> None:
        TtyUart.__init__(self, path, baud)
        self._reader = port.reader(self.stream)

    async def receive(self, buf: bytearray) -> int:
        """Wait until something is there and read it; 0 or OSError: the other end hung up."""
        return await self._reader.readinto(buf)


class SoftWatchdog:
    """A watchdog the process keeps itself: it sees a task that stands still, not a dead loop."""

    def __init__(self, timeout_ms: int) -> None:
        self._timeout_ms = timeout_ms
        self._fed = port.ticks_ms()

    def feed(self) -> None:
        """Put the end off."""
        self._fed = port.ticks_ms()

    def expired(self) -> bool:
        """True once the last feed is too long ago."""
        return port.ticks_diff(port.ticks_ms(), self._fed) > self._timeout_ms


class UnixBoard:
    """One boot of the board that ``spec`` describes; ``cause`` is its reset cause.

    PortError if a tty cannot be opened.
    """

    def __init__(self, spec: "Spec", cause: int) -> None:
        self.uid = spec.uid
        self._store_dir = spec.store
        self.defaults = spec.settings
        self.watchdog: SoftWatchdog | None = None
        self._cause = cause
        self._line_path = spec.line
        self._paths = spec.parts
        self._open: list[TtyUart] = []
        self._start = port.ticks_ms()
        self.sleep_ms = port.sleep_ms  # as it is: a wrapper would take heap at every call
        self._bridge: Bridge | None = None

    def store(self) -> Store:
        """Files in the directory the node's file names."""
        return Store(self._store_dir)

    def now_ms(self) -> int:
        """Milliseconds since boot, as a microcontroller's ticks count."""
        return port.ticks_diff(port.ticks_ms(), self._start)

    def now_us(self) -> int:
        """Microseconds of a clock that wraps."""
        return port.ticks_us()

    def ticks_diff(self, a: int, b: int) -> int:
        """a - b, right across the wrap."""
        return port.ticks_diff(a, b)

    def line(self, baud: int) -> Line:
        """The RS-485 line."""
        line = Line(self._line_path, baud)
        self._open.append(line)
        return line

    def uart(self, part: str) -> "TtyUart | NoUart":
        """The port of a part by name; silence if nothing is wired there."""
        path = self._paths.get(part)
        if path is None:
            return NoUart()
        uart = TtyUart(path, _PART_BAUD)
        self._open.append(uart)
        return uart

    def _wire(self) -> Bridge:
        if self._bridge is None:
            path = self._paths.get("bridge")
            uart = None
            if path is not None:
                uart = TtyUart(path, _PART_BAUD)
                self._open.append(uart)
            self._bridge = Bridge(uart, self)
        return self._bridge

    def i2c(self) -> BridgeI2c:
        """The I2C bus behind the bridge."""
        return BridgeI2c(self._wire())

    def onewire(self) -> BridgeOneWire:
        """The 1-Wire bus behind the bridge."""
        return BridgeOneWire(self._wire())

    def adc(self, channel: str) -> BridgeAdc:
        """An analog channel behind the bridge; ValueError for a name that is none of CHANNELS."""
        if channel not in CHANNELS:
            raise ValueError("adc channel: expected one of %s, got %s" % (CHANNELS, channel))
        return BridgeAdc(self._wire(), CHANNELS.index(channel))

    def wdt(self, timeout_ms: int) -> SoftWatchdog:
        """Start the watchdog; ``main`` looks at it."""
        self.watchdog = SoftWatchdog(timeout_ms)
        return self.watchdog

    def reset_cause(self) -> int:
        """0 power on, 1 command, 2 watchdog."""
        return self._cause

    def heap(self) -> "tuple[int, int]":
        """Bytes in use and free after a collection."""
        return port.heap()

    def close(self) -> None:
        """Give every tty back, as a reset would."""
        for uart in self._open:
            uart.close()
        self._open = []
