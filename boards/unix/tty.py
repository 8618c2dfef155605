"""Ttys for ports: what a process has instead of UARTs."""

from micropython import const

from . import port

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from .port import Stream

_DRAIN_READS = const(64)
_ROOM = const(256)


class PortError(Exception):
    """A tty cannot be used; the text names it."""


class NoUart:
    """The port of a part that is not there: silence."""

    def any(self) -> int:
        """Return 0: nothing ever comes."""
        return 0

    def readinto(self, buf: bytearray, nbytes: int) -> int | None:
        """Return 0: nothing ever comes."""
        return 0

    def write(self, buf: bytes | bytearray | memoryview) -> int | None:
        """Take the bytes and send them nowhere."""
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
        """Return 1 when a read would find something (or a hang-up), else 0."""
        return 1 if self._poll.poll(0) else 0

    def wait(self, limit_ms: int) -> bool:
        """Block until something can be read; False after ``limit_ms``."""
        return bool(self._poll.poll(limit_ms))

    def readinto(self, buf: bytearray, nbytes: int) -> int | None:
        """Read what is there, at most ``nbytes``; never waits."""
        return self.stream.readinto(buf, nbytes)

    def readinto_at(self, buf: bytearray, at: int, nbytes: int) -> int:
        """Read into ``buf[at:]`` and return the number of bytes, 0 if there are none."""
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


class TtyLine(TtyUart):
    """The RS-485 line: a tty the event loop can wait on."""

    def __init__(self, path: str, baud: int) -> None:
        TtyUart.__init__(self, path, baud)
        self._reader = port.reader(self.stream)

    async def receive(self, buf: bytearray) -> int:
        """Wait until something is there and read it; 0 or OSError: the other end hung up."""
        return await self._reader.readinto(buf)

    def speed(self, baud: int) -> None:
        """Go on at another speed."""
        port.set_speed(self.stream, baud)


class TtyLink(TtyUart):
    """The port of the serial link: its far end may read nothing for days, and nothing may wait."""

    def __init__(self, path: str, baud: int) -> None:
        TtyUart.__init__(self, path, baud)
        self._room = port.poller(self.stream, port.POLLOUT)

    def write(self, buf: bytes | bytearray | memoryview) -> int | None:
        """Take what there is room for; OSError if the other end is gone.

        Linux calls a tty ready when it has room for at least 256 bytes: it gives buffers in pieces
        of that size.
        """
        if not self._room.poll(0):
            return 0
        return self.stream.write(buf if len(buf) <= _ROOM else memoryview(buf)[:_ROOM])
