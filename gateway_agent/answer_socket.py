"""A unix domain socket of the agent on which each connection asks once and gets one line back.

Sockets stand in the state directory with mode 0600. A client has ANSWER_S for its question, and as
many bytes as it is given; more clients than MAX_CLIENTS at one time are closed.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

import msgspec

from gateway_agent.status_socket import StatusError, abort_all, connected, serve_unix

MAX_CLIENTS: Final = 4
ANSWER_S: Final = 10.0
_MAX_ANSWER: Final = 4096

#: Gets everything that came so far; returns the answer, or None if more has to come.
AnswerTo: TypeAlias = Callable[[bytearray], msgspec.Struct | None]
_Answer = TypeVar("_Answer", bound=msgspec.Struct)


@asynccontextmanager
async def serve_answers(
    directory: Path, name: str, max_bytes: int, answer: AnswerTo
) -> AsyncIterator[None]:
    """Serve while the block runs, as :func:`gateway_agent.status_socket.serve_unix` does."""
    clients: set[asyncio.Transport] = set()

    def client() -> _Client:
        return _Client(max_bytes, answer, clients)

    what = name.removesuffix(".sock")
    async with serve_unix(directory, name, what, client, lambda: abort_all(clients)):
        yield


class _Client(asyncio.Protocol):
    def __init__(self, max_bytes: int, answer: AnswerTo, clients: set[asyncio.Transport]) -> None:
        self._max_bytes = max_bytes
        self._answer = answer
        self._clients = clients
        self._data = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._timer = asyncio.get_running_loop().call_later(ANSWER_S, transport.abort)
        if len(self._clients) >= MAX_CLIENTS:
            transport.abort()
        self._clients.add(transport)

    def data_received(self, data: bytes) -> None:
        if len(self._data) + len(data) > self._max_bytes:
            self._transport.abort()
            return
        self._data += data
        answer = self._answer(self._data)
        if answer is not None:
            self._transport.write(msgspec.json.encode(answer) + b"\n")
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._clients.discard(self._transport)


def ask_agent(directory: Path, name: str, question: bytes, answer: type[_Answer]) -> _Answer:
    """Return what the agent with this state directory answers. StatusError: none does."""
    path = directory / name
    try:
        with connected(path, "agent", "run", ANSWER_S) as client:
            client.sendall(question)
            with client.makefile("rb") as stream:
                return msgspec.json.decode(stream.readline(_MAX_ANSWER), type=answer)
    except msgspec.DecodeError as error:
        raise StatusError(f"{path}: the agent has closed the connection: is it busy?") from error
