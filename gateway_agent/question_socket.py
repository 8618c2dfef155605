"""Questions on a unix domain socket of the agent: a line and what follows it, then the answer.

Sockets of this kind stand beside the status socket, which reads nothing from anybody. What a client
may send is bounded, in bytes and in time, and so is how many there are. Who asks is what the kernel
has; a name that a client gives is a note beside it.
"""

import asyncio
import grp
import logging
import os
import pwd
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Protocol, TypeAlias, TypeVar

import msgspec

from protocols.text_of_others import printable

from .cancellation import whatever_comes
from .status_socket import StatusError, connected, serve_unix

log = logging.getLogger(__name__)

QUESTION_S: Final = 5.0  # in which the question must be there
_CREDENTIALS: Final = struct.Struct("3i")  # process, user, group: unix(7), SO_PEERCRED
_PASS: Final = 0o710  # of a directory: its group may pass through it, not list it
_MAX_ANSWER: Final = 1 << 16  # bytes of an answer in one line


class QuestionClient(Protocol):
    """Who asked."""

    @property
    def user(self) -> str:
        """Return the name of the user, as the kernel has it."""

    @property
    def unsent(self) -> int:
        """Return how many bytes of the answer the client has not taken yet."""

    def write(self, data: bytes) -> None:
        """Send a part of the answer."""


Answer: TypeAlias = Callable[[bytes, QuestionClient], Awaitable[None]]
_Answer = TypeVar("_Answer", bound=msgspec.Struct)
_Question = TypeVar("_Question", bound=msgspec.Struct)


def no_more(_: bytes) -> int:
    """Return that nothing follows the line of a question."""
    return 0


class QuestionSocket(msgspec.Struct, frozen=True):
    """A socket: its name, the command of ``tianfu-gateway`` or tool that uses it, and limits.

    ``max_question``: bytes of the line and what follows. ``max_clients``: at one time; more are
    closed. ``send_s``: in which a client must take its answer. ``group``: of users who may ask,
    beside the agent's own; None: nobody else. ``more``: how many bytes follow a line.
    """

    name: str
    command: str
    max_question: int
    max_clients: int
    send_s: float
    group: str | None = None
    more: Callable[[bytes], int] = no_more


class QuestionError(Exception):
    """A question is none that this socket knows."""


def read_question(line: bytes, kind: type[_Question]) -> _Question:
    """Return the question of a line of JSON. QuestionError."""
    try:
        return msgspec.json.decode(line, type=kind)
    except (ValueError, RecursionError) as error:
        raise QuestionError(f"the request cannot be read: {error}") from error


@asynccontextmanager
async def serve_questions(
    directory: Path, kind: QuestionSocket, answer: Answer
) -> AsyncIterator[None]:
    """Let ``answer(question, client)`` answer while the block runs.

    Call it only while holding the lock of ``directory``, as :func:`.status_socket.serve_unix`.
    """
    clients: set[_Client] = set()

    def client() -> _Client:
        return _Client(kind, answer, clients)

    async def end() -> None:
        tasks = [task for each in list(clients) if (task := each.end()) is not None]
        if tasks:
            await whatever_comes(asyncio.wait(tasks))

    number = None if kind.group is None else _let_in(directory, kind.group)
    async with serve_unix(directory, kind.name, kind.command, client, end, number):
        yield


def _let_in(directory: Path, name: str) -> int | None:
    """Let a group through the state directory and return its number; None if that cannot be."""
    try:
        number = grp.getgrnam(name).gr_gid
        os.chown(directory, -1, number)
        directory.chmod(_PASS)
    except (KeyError, OSError) as error:
        log.error(
            "gateway.site_group: group %s gets no access, only the agent's user has it: %s;"
            " make the group, and the agent's user a member of it",
            name,
            error,
        )
        return None
    return number


class _Client(asyncio.Protocol):
    """One connection: a question in callbacks, then a task that answers."""

    def __init__(self, kind: QuestionSocket, answer: Answer, clients: "set[_Client]") -> None:
        self._kind = kind
        self._answer = answer
        self._clients = clients
        self._question = bytearray()
        self._size = 0  # of the whole question, once its line is there
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._timer = asyncio.get_running_loop().call_later(QUESTION_S, transport.abort)
        if len(self._clients) >= self._kind.max_clients:
            transport.abort()
        self._clients.add(self)

    def data_received(self, data: bytes) -> None:
        if self._task is not None:
            return
        if len(self._question) + len(data) > self._kind.max_question:
            self._transport.abort()
            return
        self._question += data
        line, found, _ = self._question.partition(b"\n")
        if found and not self._size:
            self._size = len(line) + 1 + max(0, self._kind.more(bytes(line)))
        if found and len(self._question) >= self._size:
            self._timer.cancel()
            self._task = asyncio.get_running_loop().create_task(self._run())

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._clients.discard(self)
        if self._task is not None:
            self._task.cancel()

    def end(self) -> asyncio.Task[None] | None:
        """Close the connection; return the task that has still to end."""
        self._transport.abort()
        if self._task is not None:
            self._task.cancel()
        return self._task

    async def _run(self) -> None:
        try:
            await self._answer(bytes(self._question), self)
        finally:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._kind.send_s, self._transport.abort)
            self._transport.close()

    @property
    def unsent(self) -> int:
        """See QuestionClient."""
        return self._transport.get_write_buffer_size()

    def write(self, data: bytes) -> None:
        """See QuestionClient."""
        self._transport.write(data)

    @property
    def user(self) -> str:
        """See QuestionClient."""
        made = self._transport.get_extra_info("socket")
        size = _CREDENTIALS.size
        found = made.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        number = _CREDENTIALS.unpack(found)[1]
        try:
            return pwd.getpwuid(number).pw_name
        except KeyError:
            return f"user {number}"


def who_asks(client: QuestionClient, note: str, longest: int) -> str:
    """Return the user, as the kernel has it, with the name that the client gave if it differs."""
    user, note = client.user, printable(note)
    return (user if note in ("", user) else f"{user} ({note})")[:longest]


def ask_agent(
    directory: Path, name: str, question: bytes, answer: type[_Answer], limit_s: float
) -> _Answer:
    """Return what the agent with this state directory answers in a line. StatusError: none does."""
    path = directory / name
    try:
        with connected(path, "agent", "run", limit_s) as client:
            client.sendall(question)
            with client.makefile("rb") as stream:
                return msgspec.json.decode(stream.readline(_MAX_ANSWER), type=answer)
    except msgspec.DecodeError as error:
        raise StatusError(f"{path}: the agent has closed the connection: is it busy?") from error
