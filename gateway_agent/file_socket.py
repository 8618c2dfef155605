"""Files of nodes on a unix domain socket of the agent: one question and one file per connection.

It stands beside the status socket, which reads nothing from anybody, and has its mode 0600: who may
read the agent's state directory may ask for the last picture of a camera, which the node then
refuses if its image switch is off. The client sends one line of JSON, :class:`FileQuestion`; it
gets lines of :class:`FileProgress`, a :class:`FileAnswer` and after that the bytes of the file.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeAlias

import msgspec
from msgspec import Struct

from protocols.uplink import MAX_FILE_BYTES

from .cancellation import whatever_comes
from .field.link.file_fetch import FetchedFile, FetchError
from .status_socket import StatusError, connected, serve_unix

SOCKET_NAME: Final = "files.sock"
MAX_QUESTION: Final = 512
MAX_CLIENTS: Final = 4  # at one time; more are closed
QUESTION_S: Final = 5.0  # in which the question must be there
SEND_S: Final = 30.0  # in which a client must take its file
CLIENT_S: Final = 90.0  # in which the agent sends something, or is taken for dead
_PROGRESS_S: Final = 0.2
_MAX_LINE: Final = 4096

Progress: TypeAlias = Callable[[int, int], None]
Fetch: TypeAlias = Callable[[str, int, Progress], Awaitable[FetchedFile]]


class FileQuestion(Struct, frozen=True):
    """Which file of which node: its name in the configuration, or its id."""

    node: str
    file: int = 1  # docs/link.md; 1: the last picture


class FileProgress(Struct, frozen=True, tag="progress"):
    """How many bytes of the file are there."""

    have: int
    size: int


class FileAnswer(Struct, frozen=True, tag="file"):
    """The file whose bytes follow, or why there is none."""

    error: str = ""  # the reason; empty: ``size`` bytes follow
    number: int = 0  # of the file, by the node's own count
    size: int = 0
    sha256: str = ""


_LINE: Final[msgspec.json.Decoder[FileProgress | FileAnswer]] = msgspec.json.Decoder(
    FileProgress | FileAnswer
)


@asynccontextmanager
async def serve_files(directory: Path, fetch: Fetch) -> AsyncIterator[None]:
    """Serve files that ``fetch(node, file, progress)`` returns while the block runs.

    Call it only while holding the lock of ``directory``, as :func:`.status_socket.serve_unix`.
    """
    requests: set[_Request] = set()

    def request() -> _Request:
        return _Request(fetch, requests)

    async def end() -> None:
        tasks = [task for each in list(requests) if (task := each.end()) is not None]
        if tasks:
            await whatever_comes(asyncio.wait(tasks))

    async with serve_unix(directory, SOCKET_NAME, "snapshot", request, end):
        yield


class _Request(asyncio.Protocol):
    """One connection: a question in callbacks, then a task that fetches and answers."""

    def __init__(self, fetch: Fetch, requests: "set[_Request]") -> None:
        self._fetch = fetch
        self._requests = requests
        self._question = b""
        self._task: asyncio.Task[None] | None = None
        self._shown_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._timer = asyncio.get_running_loop().call_later(QUESTION_S, transport.abort)
        if len(self._requests) >= MAX_CLIENTS:
            transport.abort()
        self._requests.add(self)

    def data_received(self, data: bytes) -> None:
        if self._task is not None:
            return
        self._question += data
        if b"\n" in self._question:
            self._timer.cancel()
            self._task = asyncio.get_running_loop().create_task(self._answer())
        elif len(self._question) > MAX_QUESTION:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._requests.discard(self)
        if self._task is not None:
            self._task.cancel()

    def end(self) -> asyncio.Task[None] | None:
        """Close the connection; return the task that has still to end."""
        self._transport.abort()
        if self._task is not None:
            self._task.cancel()
        return self._task

    async def _answer(self) -> None:
        data = b""
        try:
            question = msgspec.json.decode(self._question, type=FileQuestion)
            found = await self._fetch(question.node, question.file, self._progress)
        except msgspec.DecodeError as error:
            answer = FileAnswer(error=f"the question is no such question: {error}")
        except FetchError as error:
            answer = FileAnswer(error=str(error))
        else:
            data = found.data
            answer = FileAnswer("", found.number, len(data), found.sha256.hex())
        self._write(answer)
        self._transport.write(data)
        self._timer = asyncio.get_running_loop().call_later(SEND_S, self._transport.abort)
        self._transport.close()

    def _progress(self, have: int, size: int) -> None:
        now_s = asyncio.get_running_loop().time()
        if now_s - self._shown_s >= _PROGRESS_S:
            self._shown_s = now_s
            self._write(FileProgress(have, size))

    def _write(self, line: FileProgress | FileAnswer) -> None:
        self._transport.write(msgspec.json.encode(line) + b"\n")


def ask_file(
    directory: Path, question: FileQuestion, progress: Progress
) -> tuple[FileAnswer, bytes]:
    """Return a node's file from the agent with this state directory, its SHA-256 compared.

    StatusError: no agent answers. FetchError: the file did not come; the text gives the reason.
    """
    path = directory / SOCKET_NAME
    try:
        with connected(path, "agent", "run", CLIENT_S) as client:
            client.sendall(msgspec.json.encode(question) + b"\n")
            with client.makefile("rb") as stream:
                answer = _read_lines(stream.readline, progress)
                data = stream.read(answer.size)
    except msgspec.DecodeError as error:
        raise StatusError(f"{path}: {error}") from error
    if hashlib.sha256(data).hexdigest() != answer.sha256:
        raise FetchError(f"{len(data)} of {answer.size} bytes came from the agent: ask again")
    return answer, data


def _read_lines(readline: Callable[[int], bytes], progress: Progress) -> FileAnswer:
    while True:
        line = readline(_MAX_LINE)
        if not line:
            raise OSError("the agent has closed the connection: was it stopped, or is it busy?")
        found = _LINE.decode(line)
        if isinstance(found, FileProgress):
            progress(found.have, found.size)
        elif found.error:
            raise FetchError(found.error)
        elif not 0 <= found.size <= MAX_FILE_BYTES:
            raise OSError(f"a file of {found.size} bytes was announced")
        else:
            return found
