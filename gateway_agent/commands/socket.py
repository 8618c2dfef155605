"""Commands on a unix domain socket of the agent: one command and one result per connection.

Who may open it is the agent's user and, if the configuration names one, a group of this machine;
who has commanded is the user that the kernel has.
"""

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Annotated, Final

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

from .command import Command, CommandResult, RunCommand

SOCKET_NAME: Final = "commands.sock"
MAX_CLIENTS: Final = 8  # at one time; more are closed
SEND_S: Final = 5.0
CLIENT_S: Final = 180.0  # in which a command is over, or the agent is taken for dead
MAX_LINE: Final = 2048


class CommandQuestion(Struct, frozen=True, forbid_unknown_fields=True):
    """A command. ``note``: who commands, by the client's own account."""

    command: Command
    note: Annotated[str, Meta(max_length=MAX_OPERATOR_LENGTH)] = ""


def serve_commands(
    directory: Path, group: str | None, run: RunCommand
) -> AbstractAsyncContextManager[None]:
    """Serve while the block runs. ``group``: of users who may command."""

    async def answer(line: bytes, client: QuestionClient) -> None:
        try:
            question = read_question(line, CommandQuestion)
        except QuestionError as error:
            found = CommandResult(outcome="refused", text=str(error))
        else:
            found = await run(
                question.command, who_asks(client, question.note, MAX_OPERATOR_LENGTH)
            )
        client.write(msgspec.json.encode(found) + b"\n")

    kind = QuestionSocket(SOCKET_NAME, "set", MAX_LINE, MAX_CLIENTS, SEND_S, group)
    return serve_questions(directory, kind, answer)


def send_command(directory: Path, command: Command, note: str) -> CommandResult:
    """Have the agent with this state directory carry a command out. StatusError: none answers."""
    question = msgspec.json.encode(CommandQuestion(command, note)) + b"\n"
    return ask_agent(directory, SOCKET_NAME, question, CommandResult, CLIENT_S)
