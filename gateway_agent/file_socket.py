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

from .field.link.file_fetch import FetchedFile, FetchError
from .question_socket import (
    QuestionClient,
    QuestionError,
    QuestionSocket,
    read_question,
    serve_questions,
)
from .status_socket import StatusError, connected

SOCKET_NAME: Final = "files.sock"
MAX_QUESTION: Final = 512
MAX_CLIENTS: Final = 4  # at one time; more are closed
SEND_S: Final = 30.0  # in which a client must take its file
CLIENT_S: Final = 90.0  # in which the agent sends something, or is taken for dead
_PROGRESS_S: Final = 0.2
_MAX_LINE: Final = 4096

Progress: TypeAlias = Callable[[int, int], None]
Fetch: TypeAlias = Callable[[str, int, Progress], Awaitable[FetchedFile]]
#: Records who asked for a file of which node, and what came of it: empty if it came.
NoteFetch: TypeAlias = Callable[[str, str, str], None]


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
async def serve_files(
    directory: Path, fetch: Fetch, note: NoteFetch = lambda _node, _by, _why: None
) -> AsyncIterator[None]:
    """Serve files that ``fetch(node, file, progress)`` returns while the block runs.

    Call it only while holding the lock of ``directory``, as :func:`.status_socket.serve_unix`.
    """

    async def answer(question: bytes, client: QuestionClient) -> None:
        await _File(fetch, client, note).answer(question)

    kind = QuestionSocket(SOCKET_NAME, "snapshot", MAX_QUESTION, MAX_CLIENTS, SEND_S)
    async with serve_questions(directory, kind, answer):
        yield


class _File:
    """Fetches one file and shows how far it is."""

    def __init__(self, fetch: Fetch, client: QuestionClient, note: NoteFetch) -> None:
        self._note = note
        self._fetch = fetch
        self._client = client
        self._shown_s = 0.0

    async def answer(self, line: bytes) -> None:
        """Write the answer to a question, and the bytes of the file."""
        data, node = b"", ""
        try:
            question = read_question(line, FileQuestion)
            node = question.node
            found = await self._fetch(question.node, question.file, self._progress)
        except QuestionError as error:
            answer = FileAnswer(error=str(error))
        except FetchError as error:
            answer = FileAnswer(error=str(error))
        else:
            data = found.data
            answer = FileAnswer("", found.number, len(data), found.sha256.hex())
        self._note(node, self._client.user, answer.error)
        self._client.write(msgspec.json.encode(answer) + b"\n" + data)

    def _progress(self, have: int, size: int) -> None:
        now_s = asyncio.get_running_loop().time()
        if now_s - self._shown_s >= _PROGRESS_S:
            self._shown_s = now_s
            self._client.write(msgspec.json.encode(FileProgress(have, size)) + b"\n")


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
