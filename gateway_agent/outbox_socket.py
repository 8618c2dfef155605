"""The agent's outbox on a unix domain socket: signed batches out, receipts in, a copy of it all.

The outbox belongs to the agent alone, and a stick to whoever plugged it in. So ``tianfu-gateway
stick`` and ``backup`` ask here. One question for each connection: a line of JSON,
:class:`OutboxQuestion`; the answer is a line, :class:`OutboxAnswer`, and the bytes that it
announces.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec
from msgspec import Struct

from protocols.uplink import MAX_BATCH_BYTES

from .question_socket import (
    QuestionClient,
    QuestionError,
    QuestionSocket,
    read_question,
    serve_questions,
)
from .status_socket import StatusError, connected
from .store.errors import StoreError

SOCKET_NAME: Final = "outbox.sock"
MAX_QUESTION: Final = 4096
MAX_CLIENTS: Final = 4
SEND_S: Final = 30.0  # in which a client must take its answer
CLIENT_S: Final = 120.0  # in which the agent answers: a copy of a full outbox takes its time
_MAX_LINE: Final = 4096


class OutboxQuestion(Struct, frozen=True):
    """What the agent is to do."""

    what: Literal["batch", "receipt", "copy"]
    after: int = 0  # batch: the record that it follows
    data: str = ""  # receipt: its bytes as hex digits


class OutboxAnswer(Struct, frozen=True):
    """What it did: ``size`` bytes of a batch follow, or ``text`` is for people."""

    error: str = ""
    gateway: str = ""
    stream: int = 0
    receipted_to: int = 0  # the records up to here are delivered
    end: int = 0  # the newest record
    first: int = 0  # of the batch; 0: no record follows
    last: int = 0
    size: int = 0
    text: str = ""
    copied_stream: int = 0  # of a copy: its stream and newest record
    copied_last: int = 0


Handler: TypeAlias = Callable[[OutboxQuestion], Awaitable[tuple[OutboxAnswer, bytes]]]


@asynccontextmanager
async def serve_outbox(directory: Path, handle: Handler) -> AsyncIterator[None]:
    """Let ``handle`` answer while the block runs.

    Call it only while holding the lock of ``directory``, as :func:`.status_socket.serve_unix`.
    """

    async def answer(line: bytes, client: QuestionClient) -> None:
        data = b""
        try:
            found, data = await handle(read_question(line, OutboxQuestion))
        except (QuestionError, StoreError, ValueError) as error:
            found = OutboxAnswer(error=str(error))
        client.write(msgspec.json.encode(found) + b"\n" + data)

    kind = QuestionSocket(SOCKET_NAME, "stick", MAX_QUESTION, MAX_CLIENTS, SEND_S)
    async with serve_questions(directory, kind, answer):
        yield


def ask_outbox(directory: Path, question: OutboxQuestion) -> tuple[OutboxAnswer, bytes]:
    """Return what the agent with this state directory answers. StatusError: it cannot."""
    path = directory / SOCKET_NAME
    try:
        with connected(path, "agent", "run", CLIENT_S) as client:
            client.sendall(msgspec.json.encode(question) + b"\n")
            with client.makefile("rb") as stream:
                answer = msgspec.json.decode(stream.readline(_MAX_LINE), type=OutboxAnswer)
                if not 0 <= answer.size <= MAX_BATCH_BYTES:
                    raise OSError(f"a batch of {answer.size} bytes was announced")
                data = stream.read(answer.size)
    except msgspec.DecodeError as error:
        raise StatusError(f"{path}: the agent has closed the connection: is it busy?") from error
    if answer.error:
        raise StatusError(f"{path}: {answer.error}")
    if len(data) != answer.size:
        raise StatusError(f"{path}: {len(data)} of {answer.size} bytes came: ask again")
    return answer, data
