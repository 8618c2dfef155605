"""Questions on a unix domain socket of the agent: one line, then a task that answers it.

Sockets of this kind stand beside the status socket, which reads nothing from anybody. What a client
may send is bounded, in bytes and in time, and so is how many there are.
"""

import asyncio
import pwd
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from .cancellation import whatever_comes
from .status_socket import serve_unix

QUESTION_S: Final = 5.0  # in which the question must be there
_CREDENTIALS: Final = struct.Struct("3i")  # process, user, group: unix(7), SO_PEERCRED


class QuestionClient(Protocol):
    """Who asked."""

    @property
    def user(self) -> str:
        """Return the name of the user, as the kernel has it."""

    def write(self, data: bytes) -> None:
        """Send a part of the answer."""


Answer: TypeAlias = Callable[[bytes, QuestionClient], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class QuestionSocket:
    """A socket: its name, the command of ``tianfu-gateway`` or tool that uses it, and limits.

    ``max_clients``: at one time; more are closed. ``send_s``: in which a client must take its
    answer. ``group``: of users who may ask, beside the agent's own; None: nobody else.
    """

    name: str
    command: str
    max_question: int
    max_clients: int
    send_s: float
    group: int | None = None


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

    async with serve_unix(directory, kind.name, kind.command, client, end, kind.group):
        yield


class _Client(asyncio.Protocol):
    """One connection: a question in callbacks, then a task that answers."""

    def __init__(self, kind: QuestionSocket, answer: Answer, clients: "set[_Client]") -> None:
        self._kind = kind
        self._answer = answer
        self._clients = clients
        self._question = b""
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
        self._question += data
        if b"\n" in self._question:
            self._timer.cancel()
            self._task = asyncio.get_running_loop().create_task(self._run())
        elif len(self._question) > self._kind.max_question:
            self._transport.abort()

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
        await self._answer(self._question, self)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._kind.send_s, self._transport.abort)
        self._transport.close()

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
