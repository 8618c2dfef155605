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

from gateway_agent.answer_socket import ask_agent, serve_answers
from protocols.uplink import MAX_OPERATOR_LENGTH

from .image import MAX_FILE, UpdateError

SOCKET_NAME: Final = "update.sock"
MAX_ORDER: Final = 1024


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

    def answer(data: bytearray) -> OrderAnswer | None:
        line, found, image = data.partition(b"\n")
        if not found:
            return None
        try:
            order = msgspec.json.decode(line, type=UpdateOrder)
            return OrderAnswer(obey(order, bytes(image))) if len(image) >= order.size else None
        except msgspec.DecodeError as error:
            return OrderAnswer(error=f"the order is no such order: {error}")
        except UpdateError as error:
            return OrderAnswer(error=str(error))

    return serve_answers(directory, SOCKET_NAME, MAX_ORDER + MAX_FILE, answer)


def send_order(directory: Path, order: UpdateOrder, image: bytes) -> int:
    """Return how many nodes the agent with this state directory updates.

    StatusError: no agent answers. UpdateError: it refuses; the text gives the reason.
    """
    question = msgspec.json.encode(order) + b"\n" + image
    answer = ask_agent(directory, SOCKET_NAME, question, OrderAnswer)
    if answer.error:
        raise UpdateError(answer.error)
    return answer.nodes
