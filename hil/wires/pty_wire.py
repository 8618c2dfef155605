"""A pseudo terminal that an emulator made, as a wire: we open the end it names.

The other way round than :class:`hil.wires.pty.Pty`. Renode's other offer, a TCP server, listens on
all interfaces, where anybody could talk to the node; a terminal belongs to this user alone.
"""

from __future__ import annotations

import asyncio
import os
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Final

from hil.wires.line_wire import Answers

_CHUNK: Final = 65536
#: All of Renode may stand still in the middle of an answer: a host without a free CPU, .NET itself.
_HOLD_S: Final = 1.0


def _set_raw(fd: int) -> None:
    # Every flag anew, not some of them: Renode makes its terminals after the one it was started
    # on, and without one after whatever its memory held.
    attributes = termios.tcgetattr(fd)
    flags = [0, 0, termios.CS8 | termios.CREAD | termios.CLOCAL, 0]
    speeds = [termios.B115200, termios.B115200]
    attributes[6][termios.VMIN], attributes[6][termios.VTIME] = 1, 0
    termios.tcsetattr(fd, termios.TCSANOW, [*flags, *speeds, attributes[6]])


class PtyWire:
    """A wire that may be connected to one terminal after the other.

    It starts disconnected; what is written then is lost and counted in ``overrun``. Once it is
    connected it always reads: an emulator that finds its terminal full would stand still.
    ``tx_limit`` bounds what waits here for the terminal, in bytes.
    """

    def __init__(self, tx_limit: int = 4096) -> None:
        self._tx_limit = tx_limit
        self._fd = -1
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_data: Callable[[bytes], None] | None = None
        self._waiting = bytearray()
        self.overrun = 0
        #: The terminal's own name, for tools that know a terminal by it.
        self.path = ""

    @property
    def connected(self) -> bool:
        """True while there is a far end."""
        return self._fd >= 0

    def connect(self, link: Path) -> None:
        """Open the terminal that ``link`` names, raw, in the running event loop. OSError.

        Before the node speaks: a terminal that is not raw yet sends back what it is told.
        """
        self.disconnect()
        self.path = os.path.realpath(link)
        fd = os.open(self.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            _set_raw(fd)
        except termios.error:
            os.close(fd)
            raise
        self._fd = fd
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(fd, self._readable)

    def disconnect(self) -> None:
        """Let go of the far end; what waits for it is forgotten."""
        fd, self._fd = self._fd, -1
        self._waiting.clear()
        if fd >= 0:
            if self._loop is not None and not self._loop.is_closed():
                self._loop.remove_reader(fd)
                self._loop.remove_writer(fd)
            os.close(fd)

    def listen(self, on_data: Callable[[bytes], None]) -> None:
        """Call ``on_data`` from the running event loop with every chunk, now and when connected."""
        self._on_data = on_data

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, _CHUNK)
        except BlockingIOError:
            return
        except OSError:  # the emulator has ended
            data = b""
        if not data:
            self.disconnect()
        elif self._on_data is not None:
            self._on_data(data)

    def write(self, data: bytes) -> int:
        """Send to the far end; returns how many bytes were taken, the rest is in ``overrun``."""
        taken = 0
        if self._fd >= 0:
            if not self._waiting:
                taken = self._send(data)
            if self._fd >= 0 and taken < len(data):
                kept = data[taken : taken + self._tx_limit - len(self._waiting)]
                self._waiting += kept
                taken += len(kept)
                assert self._loop is not None
                self._loop.add_writer(self._fd, self._writable)
        self.overrun += len(data) - taken
        return taken

    def _send(self, data: bytes | bytearray) -> int:
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            return 0
        except OSError:
            self.disconnect()
            return 0

    def _writable(self) -> None:
        sent = self._send(self._waiting)
        del self._waiting[:sent]
        if not self._waiting and self._fd >= 0 and self._loop is not None:
            self._loop.remove_writer(self._fd)

    def pending(self) -> int:
        """Bytes that wait here because the terminal's buffer is full."""
        return len(self._waiting)

    def flush(self) -> None:
        """Forget what waits: here, and in the terminal where the emulator has not read it yet."""
        self._waiting.clear()
        if self._fd >= 0:
            assert self._loop is not None
            self._loop.remove_writer(self._fd)
            termios.tcflush(self._fd, termios.TCOFLUSH)

    def close(self) -> None:
        """Disconnect; further calls do nothing."""
        self.disconnect()


class PtyLine(PtyWire):
    """The RS-485 port: an answer is heard when it is whole, which costs no time.

    Renode hands it over byte by byte, whenever its thread has the CPU; on a line no pause of 3 ms
    stands in it, and a fault of a whole answer hits it once.
    """

    def __init__(self) -> None:
        super().__init__()
        self._answers: Answers | None = None

    def listen(self, on_data: Callable[[bytes], None]) -> None:
        """Call ``on_data`` with every answer of the node, whole."""
        self._answers = Answers(on_data, _HOLD_S)
        super().listen(self._answers.feed)

    def forget(self) -> None:
        """The node has lost its power: what it began to say does not end."""
        if self._answers is not None:
            self._answers.forget()

    def disconnect(self) -> None:
        """Let go of the far end; what waits in either direction is forgotten."""
        self.forget()
        super().disconnect()
