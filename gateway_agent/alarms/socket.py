"""What people do about alarms, on a socket of the agent: acknowledge them, put them aside."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

from gateway_agent.question_socket import (
    QuestionClient,
    QuestionError,
    QuestionSocket,
    ask_agent,
    read_question,
    serve_questions,
    who_asks,
)
from protocols.uplink import MAX_OPERATOR_LENGTH

from .watch import AlarmError

SOCKET_NAME: Final = "alarms.sock"
MAX_CLIENTS: Final = 4  # at one time
ANSWER_S: Final = 10.0
_MAX_LINE: Final = 1024


class AlarmOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """Acknowledge (an empty ``name``: all), shelve, or expect a device (``name``) to be silent.

    ``by``: who, by the account of the client: a note beside the user that the kernel has.
    """

    action: Literal["acknowledge", "shelve", "maintain"]
    name: str
    by: Annotated[str, Meta(max_length=MAX_OPERATOR_LENGTH)]
    for_ms: int = 0


class AlarmAnswer(Struct, frozen=True):
    """How many alarms changed, or why none can."""

    changed: int = 0
    error: str = ""


ObeyAlarm: TypeAlias = Callable[[AlarmOrder], int]


def serve_alarms(
    directory: Path, group: str | None, obey: ObeyAlarm
) -> AbstractAsyncContextManager[None]:
    """Serve while the block runs. ``group``: of users who may change alarms."""

    async def answer(line: bytes, client: QuestionClient) -> None:
        try:
            order = read_question(line, AlarmOrder)
            by = who_asks(client, order.by, MAX_OPERATOR_LENGTH)
            found = AlarmAnswer(obey(msgspec.structs.replace(order, by=by)))
        except (QuestionError, AlarmError) as error:
            found = AlarmAnswer(error=str(error))
        client.write(msgspec.json.encode(found) + b"\n")

    kind = QuestionSocket(SOCKET_NAME, "alarms", _MAX_LINE, MAX_CLIENTS, ANSWER_S, group)
    return serve_questions(directory, kind, answer)


def send_alarm_order(directory: Path, order: AlarmOrder) -> int:
    """Return how many alarms of the agent with this state directory changed.

    StatusError: no agent answers. AlarmError: it refuses; the text gives the reason.
    """
    question = msgspec.json.encode(order) + b"\n"
    answer = ask_agent(directory, SOCKET_NAME, question, AlarmAnswer, ANSWER_S)
    if answer.error:
        raise AlarmError(answer.error)
    return answer.changed
