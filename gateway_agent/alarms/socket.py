"""What people do about alarms, on a socket of the agent: acknowledge them, put them aside."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

from gateway_agent.answer_socket import ask_agent, serve_answers
from protocols.uplink import MAX_OPERATOR_LENGTH

from .watch import AlarmError

SOCKET_NAME: Final = "alarms.sock"
_MAX_LINE: Final = 1024


class AlarmOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """Acknowledge (an empty ``name``: all) or shelve. ``by``: who, for people."""

    action: Literal["acknowledge", "shelve"]
    name: str
    by: Annotated[str, Meta(max_length=MAX_OPERATOR_LENGTH)]
    for_ms: int = 0


class AlarmAnswer(Struct, frozen=True):
    """How many alarms changed, or why none can."""

    changed: int = 0
    error: str = ""


ObeyAlarm: TypeAlias = Callable[[AlarmOrder], int]


def serve_alarms(directory: Path, obey: ObeyAlarm) -> AbstractAsyncContextManager[None]:
    """Serve while the block runs."""

    def answer(data: bytearray) -> AlarmAnswer | None:
        line, found, _ = data.partition(b"\n")
        if not found:
            return None
        try:
            return AlarmAnswer(obey(msgspec.json.decode(line, type=AlarmOrder)))
        except (msgspec.DecodeError, AlarmError) as error:
            return AlarmAnswer(error=str(error))

    return serve_answers(directory, SOCKET_NAME, _MAX_LINE, answer)


def send_alarm_order(directory: Path, order: AlarmOrder) -> int:
    """Return how many alarms of the agent with this state directory changed.

    StatusError: no agent answers. AlarmError: it refuses; the text gives the reason.
    """
    question = msgspec.json.encode(order) + b"\n"
    answer = ask_agent(directory, SOCKET_NAME, question, AlarmAnswer)
    if answer.error:
        raise AlarmError(answer.error)
    return answer.changed
