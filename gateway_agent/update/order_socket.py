"""Orders of updates on a unix domain socket of the agent: one order and one answer per connection.

It stands beside the status socket and has its mode 0600. The client sends one line of JSON,
:class:`UpdateOrder`, and the bytes of the image; it gets one line, :class:`OrderAnswer`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta, Struct

from gateway_agent.status_socket import StatusError, abort_all, connected, serve_unix
from protocols.uplink import MAX_OPERATOR_LENGTH

from .image import MAX_FILE, UpdateError

SOCKET_NAME: Final = "update.sock"
MAX_ORDER: Final = 1024
MAX_CLIENTS: Final = 4  # at one time; more are closed
ORDER_S: Final = 10.0  # in which the order must be there
_MAX_ANSWER: Final = 4096


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


@asynccontextmanager
async def serve_orders(directory: Path, obey: Obey) -> AsyncIterator[None]:
    """Serve orders while the block runs, as :func:`gateway_agent.status_socket.serve_unix` does."""
    clients: set[asyncio.Transport] = set()

    def client() -> _Client:
        return _Client(obey, clients)

    async with serve_unix(directory, SOCKET_NAME, "update", client, lambda: abort_all(clients)):
        yield


class _Client(asyncio.Protocol):
    def __init__(self, obey: Obey, clients: set[asyncio.Transport]) -> None:
        self._obey = obey
        self._clients = clients
        self._data = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._timer = asyncio.get_running_loop().call_later(ORDER_S, transport.abort)
        if len(self._clients) >= MAX_CLIENTS:
            transport.abort()
        self._clients.add(transport)

    def data_received(self, data: bytes) -> None:
        if len(self._data) + len(data) > MAX_ORDER + MAX_FILE:
            self._transport.abort()
            return
        self._data += data
        line, found, image = self._data.partition(b"\n")
        if not found:
            return
        try:
            order = msgspec.json.decode(line, type=UpdateOrder)
            if len(image) < order.size:
                return
            answer = OrderAnswer(self._obey(order, bytes(image)))
        except msgspec.DecodeError as error:
            answer = OrderAnswer(error=f"the order is no such order: {error}")
        except UpdateError as error:
            answer = OrderAnswer(error=str(error))
        self._transport.write(msgspec.json.encode(answer) + b"\n")
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._clients.discard(self._transport)


def send_order(directory: Path, order: UpdateOrder, image: bytes) -> int:
    """Return how many nodes the agent with this state directory updates.

    StatusError: no agent answers. UpdateError: it refuses; the text gives the reason.
    """
    path = directory / SOCKET_NAME
    try:
        with connected(path, "agent", "run", ORDER_S) as client:
            client.sendall(msgspec.json.encode(order) + b"\n" + image)
            with client.makefile("rb") as stream:
                answer = msgspec.json.decode(stream.readline(_MAX_ANSWER), type=OrderAnswer)
    except msgspec.DecodeError as error:
        raise StatusError(f"{path}: the agent has closed the connection: is it busy?") from error
    if answer.error:
        raise UpdateError(answer.error)
    return answer.nodes
