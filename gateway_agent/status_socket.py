"""The status of agent or collector on a unix domain socket: one JSON object per connection.

Nothing is read from a client. The socket has mode 0600 from its first instant: who may read the
agent's state directory may read its status. ``tianfu-gateway status`` is the client.
"""

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from gateway_agent.errors import OperatorError

from .status import Status, from_json, to_json

log = logging.getLogger(__name__)

SOCKET_NAME: Final = "status.sock"
MAX_BYTES: Final = 4 << 20  # 300 devices with 20 values each take about 300 kB
TIMEOUT_S: Final = 5.0
_MAX_PATH: Final = 100  # sun_path holds 107 bytes and an end (unix(7))


class StatusError(OperatorError):
    """The status cannot be read; the text names the socket, the reason and the remedy."""


@asynccontextmanager
async def serve_status(
    directory: Path, snapshot: Callable[[], Struct], name: str = SOCKET_NAME
) -> AsyncIterator[None]:
    """Answer connections with ``snapshot()`` while the block runs; ``name`` is the socket's.

    Call it only while holding the lock of ``directory``: then a socket that is already there is
    left over from an earlier process. If no socket can be made (the medium is full, for instance),
    the block runs without one: no measurement depends on it.
    """
    path = directory / name

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                writer.write(to_json(snapshot()).encode() + b"\n")
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError):
            writer.transport.abort()

    try:
        path.unlink(missing_ok=True)
        server = await _listen(path, answer)
    except OSError as error:
        log.error("%s: cannot make the socket, `status` will not work: %s", path, error)
        yield
        return
    try:
        yield
    finally:
        server.close()
        await server.wait_closed()
        path.unlink(missing_ok=True)


async def _listen(
    path: Path, answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
) -> asyncio.Server:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # On Linux the socket's own mode becomes the file's, so there is no instant with another.
        os.fchmod(listener.fileno(), 0o600)
        with _short(path) as name:
            listener.bind(name)
        return await asyncio.start_unix_server(answer, sock=listener)
    except BaseException:
        listener.close()
        raise


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
    """Return what is served on the socket at ``path``. StatusError if nothing answers.

    ``who`` should answer there; ``command`` of ``tianfu-gateway`` starts it.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(TIMEOUT_S)
        try:
            with _short(path) as name:
                client.connect(name)
            return _read_all(client)
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
def _short(path: Path) -> Iterator[str]:
    """Yield a name of ``path`` that fits a socket address, however deep the directory is."""
    if len(os.fsencode(path)) <= _MAX_PATH:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
