"""Reload on a unix domain socket of the agent: the operator's file is read, compared, applied.

Only the agent's own user, and root, may open it: a configuration says where readings go.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct

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

from .plan import ReloadPlan
from .reloader import Reloader

SOCKET_NAME: Final = "reload.sock"
MAX_CLIENTS: Final = 4
SEND_S: Final = 5.0
CLIENT_S: Final = 180.0  # in which a reload has begun its probation
MAX_ROWS: Final = 60  # of an answer
_MAX_LINE: Final = 256
_NOT_YET: Final = "the agent does not poll yet: `tianfu-gateway status` shows why"


class ReloadQuestion(Struct, frozen=True, forbid_unknown_fields=True):
    """Apply the operator's file, or only say what that would change."""

    action: Literal["apply", "plan"]


class ReloadAnswer(Struct, frozen=True):
    """The plan, with at most MAX_ROWS rows, how many there are, and the time of probation."""

    plan: ReloadPlan
    changes: int = 0
    probation_s: int = 0


def serve_reloads(
    directory: Path, reloader: Callable[[], Reloader | None]
) -> AbstractAsyncContextManager[None]:
    """Serve while the block runs."""

    async def answer(line: bytes, client: QuestionClient) -> None:
        found = _refused(_NOT_YET)
        try:
            question = read_question(line, ReloadQuestion)
        except QuestionError as error:
            found = _refused(str(error))
        else:
            own = reloader()
            if own is not None:
                found = await _obeyed(question, own, who_asks(client, "", MAX_OPERATOR_LENGTH))
        client.write(msgspec.json.encode(found) + b"\n")

    kind = QuestionSocket(SOCKET_NAME, "reload", _MAX_LINE, MAX_CLIENTS, SEND_S)
    return serve_questions(directory, kind, answer)


async def _obeyed(question: ReloadQuestion, reloader: Reloader, who: str) -> ReloadAnswer:
    if question.action == "plan":
        plan = await reloader.plan_file()
    else:
        plan = await reloader.apply_file(who)
    left_ms = reloader.state().probation_ms if question.action == "apply" else 0
    shown = msgspec.structs.replace(plan, rows=plan.rows[:MAX_ROWS])
    return ReloadAnswer(shown, len(plan.rows), -(-left_ms // 1000))


def _refused(why: str) -> ReloadAnswer:
    return ReloadAnswer(ReloadPlan(digest="", rows=(), problems=(why,)))


def ask_reload(directory: Path, question: ReloadQuestion) -> ReloadAnswer:
    """Return what the agent with this state directory answers. StatusError: none does."""
    line = msgspec.json.encode(question) + b"\n"
    return ask_agent(directory, SOCKET_NAME, line, ReloadAnswer, CLIENT_S)
