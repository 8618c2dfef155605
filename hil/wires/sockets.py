"""Sockets as wires: the far end is an emulator that has the UART as a socket.

An emulated UART behind a socket has no deadline and loses nothing: what waits in the socket while
the emulator is paused or slow would not have been sent by then on a real wire, so nothing bounds
it but the kernel. What does not fit into the kernel's buffer waits here, bounded by ``tx_limit``.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from hil.errors import WireError

#: A Unix address is 108 bytes with its end mark, whatever the length of a path may be.
MAX_PATH_BYTES: Final = 107
_RETRY_S: Final = 0.02
_CHUNK: Final = 65536

#: A Unix path, or host and port.
Address = Path | tuple[str, int]


class SocketWire:
    """A wire that may be connected to one emulator after the other.

    It starts disconnected, and is so again when the far end has closed: what is written then is
    lost, as on a UART nobody powers, and counted in ``overrun``. :meth:`connect` or :meth:`adopt`
    connect it (again). ``tx_limit`` bounds what waits here for the far end, in bytes.
    """

    def __init__(self, tx_limit: int = 4096) -> None:
        self._tx_limit = tx_limit
        self._socket: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_data: Callable[[bytes], None] | None = None
        self._waiting = bytearray()
        self._closed = False
        self.overrun = 0
        #: How often it was connected.
        self.connections = 0

    @property
    def connected(self) -> bool:
        """True while there is a far end."""
        return self._socket is not None

    async def connect(self, address: Address, limit_s: float = 10.0) -> None:
        """Connect, trying until somebody listens at ``address``. WireError after ``limit_s``."""
        if isinstance(address, Path) and len(bytes(address)) > MAX_PATH_BYTES:
            raise WireError(
                f"{address}: expected a socket path of at most {MAX_PATH_BYTES} bytes, got "
                f"{len(bytes(address))}: use a shorter directory"
            )
        loop = asyncio.get_running_loop()
        deadline = time.monotonic() + limit_s
        while True:
            family = socket.AF_UNIX if isinstance(address, Path) else socket.AF_INET
            near = socket.socket(family, socket.SOCK_STREAM)
            near.setblocking(False)
            target = str(address) if isinstance(address, Path) else address
            try:
                await asyncio.wait_for(loop.sock_connect(near, target), limit_s)
            except OSError as error:  # refused, not there yet, or TimeoutError
                near.close()
                if time.monotonic() >= deadline:
                    raise WireError(
                        f"{_name(address)}: nobody accepted a connection within {limit_s:g} s "
                        f"({type(error).__name__}: {error})"
                    ) from None
            except BaseException:
                near.close()
                raise
            else:
                self.adopt(near)
                return
            await asyncio.sleep(_RETRY_S)

    def adopt(self, near: socket.socket) -> None:
        """Use a connected socket, whose far end an emulator has; the old one is closed."""
        self.disconnect()
        if self._closed:
            near.close()
            raise WireError("the wire is closed: expected a wire that is still in use")
        near.setblocking(False)
        if near.family in (socket.AF_INET, socket.AF_INET6):
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = near
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(near, self._readable)
        self.connections += 1

    def disconnect(self) -> None:
        """Let go of the far end; what waits for it is forgotten."""
        near, self._socket = self._socket, None
        self._waiting.clear()
        if near is not None:
            assert self._loop is not None
            if not self._loop.is_closed():
                self._loop.remove_reader(near)
                self._loop.remove_writer(near)
            near.close()

    def listen(self, on_data: Callable[[bytes], None]) -> None:
        """Call ``on_data`` from the running event loop with every chunk, now and when connected."""
        self._on_data = on_data

    def _readable(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:  # reset: the emulator was killed
            data = b""
        if not data:
            self.disconnect()
        elif self._on_data is not None:
            self._on_data(data)

    def write(self, data: bytes) -> int:
        """Send to the far end; returns how many bytes were taken, the rest is in ``overrun``."""
        taken = 0
        if not self._waiting:
            taken = self._send(data)
        if self.connected and taken < len(data):
            kept = data[taken : taken + self._tx_limit - len(self._waiting)]
            self._waiting += kept
            taken += len(kept)
            assert self._loop is not None
            assert self._socket is not None
            self._loop.add_writer(self._socket, self._writable)
        self.overrun += len(data) - taken
        return taken

    def _send(self, data: bytes | bytearray) -> int:
        if self._socket is None:
            return 0
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0
        except OSError:  # the far end is gone: the reader sees it, too
            self.disconnect()
            return 0

    def _writable(self) -> None:
        sent = self._send(self._waiting)
        del self._waiting[:sent]
        if not self._waiting and self._socket is not None and self._loop is not None:
            self._loop.remove_writer(self._socket)

    def pending(self) -> int:
        """Bytes that wait here because the kernel's buffer is full."""
        return len(self._waiting)

    def flush(self) -> None:
        """Forget what waits here. What the kernel holds ends with the emulator that has it."""
        self._waiting.clear()
        if self._socket is not None and self._loop is not None:
            self._loop.remove_writer(self._socket)

    def close(self) -> None:
        """Disconnect for good; further calls do nothing."""
        self.disconnect()
        self._closed = True


def _name(address: Address) -> str:
    return str(address) if isinstance(address, Path) else f"{address[0]}:{address[1]}"
