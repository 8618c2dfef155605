"""The status of agent or collector on a unix domain socket: one JSON object per connection.

Nothing is read from a client. The socket has mode 0600 from its first instant: who may read the
agent's state directory may read its status. ``tianfu-gateway status`` is the client.
"""

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import msgspec

from gateway_agent.errors import OperatorError

from .status import Status, from_json

log = logging.getLogger(__name__)

SOCKET_NAME: Final = "status.sock"
MAX_BYTES: Final = 64 << 20  # 1,280 devices with 100 values each take about 9 MB
TIMEOUT_S: Final = 5.0
_MAX_PATH: Final = 100  # sun_path holds 107 bytes and an end (unix(7))


class StatusError(OperatorError):
    """The status cannot be read; the text names the socket, the reason and the remedy."""


@asynccontextmanager
async def serve_status(
    directory: Path, text: Callable[[], Iterable[str]], name: str = SOCKET_NAME
) -> AsyncIterator[None]:
    """Answer connections with ``text()`` while the block runs; ``name`` is the socket's.

    The loop turns between two pieces of the text, and a piece is made when the client can take it.
    Call it only while holding the lock of ``directory``, as :func:`serve_unix`.
    """
    connections: set[asyncio.Transport] = set()

    def answer() -> _Answer:
        return _Answer(text, connections)

    async with serve_unix(directory, name, "status", answer, lambda: abort_all(connections)):
        yield


class _Answer(asyncio.Protocol):
    """Answers one connection in callbacks, so that no task is left when the agent stops."""

    def __init__(
        self, text: Callable[[], Iterable[str]], connections: set[asyncio.Transport]
    ) -> None:
        self._text = text
        self._connections = connections
        self._is_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._connections.add(transport)
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(TIMEOUT_S, transport.abort)
        self._pieces = iter(self._text())
        self._send()

    def _send(self) -> None:
        if self._transport.is_closing():  # nobody waits for the rest
            return
        piece = next(self._pieces, None)
        if piece is None:
            self._transport.write(b"\n")
            self._transport.close()  # once everything is written
            return
        self._transport.write(piece.encode())
        if not self._is_paused:
            self._loop.call_soon(self._send)

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False
        self._loop.call_soon(self._send)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._connections.discard(self._transport)


@asynccontextmanager
async def serve_unix(
    directory: Path,
    name: str,
    command: str,
    protocol: Callable[[], asyncio.Protocol],
    end: Callable[[], Awaitable[None]],
    group: int | None = None,
) -> AsyncIterator[None]:
    """Serve the socket ``name`` while the block runs, for ``command`` of ``tianfu-gateway``.

    ``group`` may use it beside our own user. ``end`` ends the connections that are left; no new one
    comes any more when it is called.
    Call it only while holding the lock of ``directory``: then a socket that is already
    there is left over from an earlier process. If none can be made (the medium is full, for
    instance), the block runs without one: no measurement depends on it.
    """
    path = directory / name
    try:
        path.unlink(missing_ok=True)
        server = await _listen(path, protocol, group)
    except OSError as error:
        log.error("%s: cannot make the socket, `%s` will not work: %s", path, command, error)
        yield
        return
    try:
        await server.start_serving()
        yield
    finally:
        server.close()
        path.unlink(missing_ok=True)
        await end()
        await server.wait_closed()


async def abort_all(connections: Iterable[asyncio.Transport]) -> None:
    """End connections without waiting for what they have still to send."""
    for transport in list(connections):
        transport.abort()


async def _listen(
    path: Path, protocol: Callable[[], asyncio.Protocol], group: int | None
) -> asyncio.Server:
    """Return a server on a socket with mode 0600, or 0660 for a group, that does not serve yet."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _bind(listener, path, group)
        return await asyncio.get_running_loop().create_unix_server(
            protocol, sock=listener, start_serving=False
        )
    except BaseException:
        listener.close()
        raise


def _bind(listener: socket.socket, path: Path, group: int | None) -> None:
    # On Linux the socket's own mode becomes the file's, so there is no instant with another.
    os.fchmod(listener.fileno(), 0o600)
    with short_name(path) as name:
        listener.bind(name)
        if group is not None:
            os.chown(name, -1, group)
            Path(name).chmod(0o660)


def read_status(directory: Path) -> Status:
    """Ask the agent whose state directory this is. StatusError if there is no usable answer."""
    path = directory / SOCKET_NAME
    data = ask(path, "agent", "run")
    try:
        return from_json(data)
    except msgspec.DecodeError as error:
        raise StatusError(
            f"{path}: expected the status as one JSON object, got {data[:40]!r}: {error}; is the"
            " running agent of the same version as this command?"
        ) from error


def ask(path: Path, who: str, command: str) -> bytes:
    """Return what is served on the socket at ``path``. StatusError as of :func:`connected`."""
    with connected(path, who, command, TIMEOUT_S) as client:
        return _read_all(client)


@contextmanager
def connected(path: Path, who: str, command: str, limit_s: float) -> Iterator[socket.socket]:
    """Connect to the socket at ``path``. StatusError if nothing answers, also within the block.

    ``who`` should answer there, in ``limit_s`` each time; ``command`` of ``tianfu-gateway`` starts
    it.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(limit_s)
        try:
            with short_name(path) as name:
                client.connect(name)
            yield client
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
            raise StatusError(
                f"{path}: no {who} answers there: is `tianfu-gateway {command}` running with this"
                " configuration?"
            ) from error
        except PermissionError as error:
            raise StatusError(
                f"{path}: not permitted: run this command as the user the {who} runs as"
            ) from error
        except OSError as error:
            raise StatusError(f"{path}: {error}") from error


def _read_all(client: socket.socket) -> bytes:
    data = bytearray()
    while chunk := client.recv(65536):
        data += chunk
        if len(data) > MAX_BYTES:
            raise OSError(f"the answer is longer than {MAX_BYTES} bytes")
    return bytes(data)


@contextmanager
def short_name(path: Path) -> Iterator[str]:
    """Yield a name of ``path`` that fits a socket address, however deep the directory is."""
    if len(os.fsencode(path)) <= _MAX_PATH:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
