"""Orders of updates on a unix domain socket of the agent: one order and one answer per connection.

It stands beside the status socket and has its mode 0600. The client sends one line of JSON,
:class:`UpdateOrder`, and the bytes of the image; it gets one line, :class:`OrderAnswer`.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Annotated, Final, TypeAlias

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

from .image import MAX_FILE, UpdateError

SOCKET_NAME: Final = "update.sock"
MAX_ORDER: Final = 1024
MAX_CLIENTS: Final = 4  # at one time
ANSWER_S: Final = 10.0


class UpdateOrder(Struct, frozen=True, kw_only=True):
    """What an operator orders: for a node, a role or all; ``size`` bytes of an image follow."""

    target: str
    size: int = 0
    canary: int = 1  # nodes that come first, alone
    group: int = 8  # nodes at one time after them
    cancel: bool = False
    operator: Annotated[str, Meta(max_length=MAX_OPERATOR_LENGTH)] = ""


Obey: TypeAlias = Callable[[UpdateOrder, bytes], int]


class OrderAnswer(Struct, frozen=True):
    """For how many nodes an order was taken, or why it was not."""

    nodes: int = 0
    error: str = ""


def serve_orders(directory: Path, obey: Obey) -> AbstractAsyncContextManager[None]:
    """Serve orders while the block runs."""

    async def answer(question: bytes, client: QuestionClient) -> None:
        line, _, image = question.partition(b"\n")
        try:
            order = read_question(line, UpdateOrder)
            by = who_asks(client, order.operator, MAX_OPERATOR_LENGTH)
            found = OrderAnswer(obey(msgspec.structs.replace(order, operator=by), image))
        except (QuestionError, UpdateError) as error:
            found = OrderAnswer(error=str(error))
        client.write(msgspec.json.encode(found) + b"\n")

    most = MAX_ORDER + MAX_FILE
    kind = QuestionSocket(SOCKET_NAME, "update", most, MAX_CLIENTS, ANSWER_S, more=_image_bytes)
    return serve_questions(directory, kind, answer)


def _image_bytes(line: bytes) -> int:
    try:
        return read_question(line, UpdateOrder).size
    except QuestionError:
        return 0  # it is answered with what is wrong


def send_order(directory: Path, order: UpdateOrder, image: bytes) -> int:
    """Return how many nodes the agent with this state directory updates.

    StatusError: no agent answers. UpdateError: it refuses; the text gives the reason.
    """
    question = msgspec.json.encode(order) + b"\n" + image
    answer = ask_agent(directory, SOCKET_NAME, question, OrderAnswer, ANSWER_S)
    if answer.error:
        raise UpdateError(answer.error)
    return answer.nodes
