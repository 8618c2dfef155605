"""A wire over an open descriptor: an emulator's socket, or a terminal that it made.

An emulated UART has no deadline and loses nothing: what waits in the kernel while the emulator is
paused or slow would not have been sent by then on a real wire. Bytes that the kernel does not take
wait here, bounded by ``tx_limit``; a far end that has gone leaves the wire disconnected, as a UART
without power.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Final

from hil.errors import WireError

TX_LIMIT: Final = 4096
_CHUNK: Final = 65536


class DescriptorWire:
    """A wire that may be connected to one far end after the other.

    It starts disconnected, and is so again when the far end has closed: what is written then is
    lost and counted in ``overrun``. Once it is connected it always reads: an emulator that finds
    its buffer full would stand still. ``tx_limit`` bounds what waits here, in bytes.
    """

    def __init__(self, tx_limit: int = TX_LIMIT) -> None:
        self._tx_limit = tx_limit
        self._fd = -1
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_data: Callable[[bytes], None] | None = None
        self._waiting = bytearray()
        self._closed = False
        self.overrun = 0

    @property
    def connected(self) -> bool:
        """True while there is a far end."""
        return self._fd >= 0

    def attach(self, fd: int) -> None:
        """Use a descriptor, and close it later; the one before is closed now. WireError.

        Call it in the running event loop.
        """
        self.disconnect()
        if self._closed:
            os.close(fd)
            raise WireError("the wire is closed: expected a wire that is still in use")
        os.set_blocking(fd, False)
        self._fd = fd
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(fd, self._readable)

    def disconnect(self) -> None:
        """Release the far end, and forget what waits for it."""
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

    def write(self, data: bytes) -> int:
        """Send to the far end; return how many bytes were taken, the rest is in ``overrun``."""
        taken = 0
        if not self._waiting:
            taken = self._send(data)
        if self._loop is not None and self._fd >= 0 and taken < len(data):
            kept = data[taken : taken + self._tx_limit - len(self._waiting)]
            self._waiting += kept
            taken += len(kept)
            self._loop.add_writer(self._fd, self._writable)
        self.overrun += len(data) - taken
        return taken

    def pending(self) -> int:
        """Return how many bytes wait here because the far end's buffer is full."""
        return len(self._waiting)

    def flush(self) -> None:
        """Forget what waits here. What the kernel holds ends with the emulator that has it."""
        self._waiting.clear()
        if self._loop is not None and self._fd >= 0:
            self._loop.remove_writer(self._fd)

    def close(self) -> None:
        """Disconnect for good; further calls do nothing."""
        self.disconnect()
        self._closed = True

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

    def _send(self, data: bytes | bytearray) -> int:
        if self._fd < 0:
            return 0
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            return 0
        except OSError:  # the far end is gone
            self.disconnect()
            return 0

    def _writable(self) -> None:
        sent = self._send(self._waiting)
        del self._waiting[:sent]
        if not self._waiting and self._loop is not None and self._fd >= 0:
            self._loop.remove_writer(self._fd)
