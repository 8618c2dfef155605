"""Turns on the gateway's buses for tools of a technician on site, on a unix domain socket.

It stands beside the status socket; the format is :mod:`protocols.modbus_client.turn`. There is no
way to it from a network: who may open the socket is the agent's user and, if the configuration
names one, a group of this machine. What changes a node is signed with the node's own key, by the
tool that has it: the agent passes it on and adds nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from protocols.modbus_client.turn import (
    ANSWER_S,
    MAX_QUESTION,
    SOCKET_NAME,
    TurnAnswer,
    TurnQuestion,
)

from .question_socket import (
    QuestionClient,
    QuestionError,
    QuestionSocket,
    read_question,
    serve_questions,
)

MAX_CLIENTS: Final = 8  # at one time; more are closed
SEND_S: Final = 5.0
_WAIT_S: Final = ANSWER_S / 2  # for a turn and its answer: a client waits longer
_TURNS_OF: Final = "tianfu-node --port gateway:"

Turn: TypeAlias = Callable[[TurnQuestion, str], Awaitable[TurnAnswer]]


@asynccontextmanager
async def serve_turns(directory: Path, group: str | None, turn: Turn) -> AsyncIterator[None]:
    """Serve turns while the block runs. ``group``: of users who may ask for them.

    Call it only while holding the lock of ``directory``, as :func:`.status_socket.serve_unix`.
    """

    async def answer(line: bytes, client: QuestionClient) -> None:
        try:
            question = read_question(line, TurnQuestion)
            async with asyncio.timeout(_WAIT_S):
                found = await turn(question, client.user)
        except QuestionError as error:
            found = TurnAnswer(error=str(error))
        except TimeoutError:
            found = TurnAnswer(
                error=f"the bus had no turn within {_WAIT_S:g} s: is its port there, and has the"
                " outbox room? `tianfu-gateway status` shows it"
            )
        client.write(msgspec.json.encode(found) + b"\n")

    kind = QuestionSocket(SOCKET_NAME, _TURNS_OF, MAX_QUESTION, MAX_CLIENTS, SEND_S, group)
    async with serve_questions(directory, kind, answer):
        yield
