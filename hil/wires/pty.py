"""Pseudo terminals as wires: the far end is a path that a node or a gateway opens like a UART."""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
import termios
import tty
from collections.abc import Callable

# A small UART's receive buffer. The kernel would hold 4095 bytes for a reader that is not there,
# and hand it minutes-old bytes when it comes; a real receiver has lost them by then.
RX_LIMIT = 1024


class Pty:
    """One wire: bytes we :meth:`write` arrive at ``path``, bytes written there reach ``on_data``.

    The far end is raw with VMIN = VTIME = 0, so that a reader which does not know ``termios`` gets
    what is there and never blocks. Our own handle on it stays open: a node may close and open the
    path again (a restart) without the near end seeing an end of file.

    ``rx_limit`` bounds what may wait at the far end, in bytes; what does not fit is lost and
    counted in ``overrun``, as in a UART.
    """

    def __init__(self, rx_limit: int = RX_LIMIT) -> None:
        self._near, self._far = os.openpty()
        tty.setraw(self._far)
        attributes = termios.tcgetattr(self._far)
        attributes[6][termios.VMIN] = 0
        attributes[6][termios.VTIME] = 0
        termios.tcsetattr(self._far, termios.TCSANOW, attributes)
        os.set_blocking(self._near, False)
        self._rx_limit = rx_limit
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_data: Callable[[bytes], None] | None = None
        self.path = os.ttyname(self._far)
        self.overrun = 0

    def listen(self, on_data: Callable[[bytes], None]) -> None:
        """Call ``on_data`` from the running event loop with every chunk written at the far end."""
        self._on_data = on_data
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._near, self._readable)

    def _readable(self) -> None:
        try:
            data = os.read(self._near, 4096)
        except (BlockingIOError, OSError):
            return
        if data and self._on_data is not None:
            self._on_data(data)

    def pending(self) -> int:
        """Return how many bytes wait at the far end to be read."""
        return int(struct.unpack("i", fcntl.ioctl(self._far, termios.FIONREAD, bytes(4)))[0])

    def fileno(self) -> int:
        """Return the near end's descriptor, for a caller that reads without the event loop."""
        return self._near

    def room(self) -> int:
        """Return how many bytes the far end's buffer takes now."""
        return max(0, self._rx_limit - self.pending())

    def write(self, data: bytes) -> int:
        """Send ``data`` to the far end; return how many bytes its buffer took."""
        room = self.room()
        taken = 0
        if room:
            try:
                taken = os.write(self._near, data[:room])
            except BlockingIOError:
                taken = 0
        self.overrun += len(data) - taken
        return taken

    def flush(self) -> None:
        """Forget what waits at the far end: a receiver that was switched off never got it."""
        termios.tcflush(self._far, termios.TCIFLUSH)

    def close(self) -> None:
        """Stop listening and close both ends; further calls do nothing."""
        if self._near < 0:
            return
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._near)
        os.close(self._near)
        os.close(self._far)
        self._near = self._far = -1
