"""Serves the console in the agent's own loop; whatever goes wrong here, data goes on.

Connections are bounded in number, and one that has sent no whole request within ten seconds is
closed. A request whose ``Host`` is not one of ours is refused: a page of somebody else that has
this address under its own name must not read the console.
"""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from gateway_agent.config import WebConfig

log = logging.getLogger(__name__)

MAX_CONNECTIONS: Final = 100
REQUEST_S: Final = 10.0  # for the first request of a connection
END_S: Final = 0.5  # for answers to end when the agent stops
MAX_HEAD: Final = 16 << 10  # bytes of a request before its body


class _Connection(H11Protocol):
    """A connection that must bring a request soon."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # of uvicorn itself
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()
            return
        self._deadline = self.loop.call_later(REQUEST_S, self._check_request)

    def _check_request(self) -> None:
        if getattr(self, "cycle", None) is None and not self.transport.is_closing():
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if hasattr(self, "_deadline"):
            self._deadline.cancel()
        super().connection_lost(exc)


@asynccontextmanager
async def served(web: WebConfig, app: ASGIApp) -> AsyncIterator[int]:
    """Serve ``app`` while the block runs; yields the port, 0 if it cannot listen."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        lifespan="off",
        ws="none",
        interface="asgi3",
        h11_max_incomplete_event_size=MAX_HEAD,
        timeout_keep_alive=30,
    )
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(
            lambda: _Connection(config, state, {}), web.host, web.port, reuse_address=True
        )
    except OSError as error:
        log.error("web.listen = %s: %s; the gateway works without its console", web.listen, error)
        yield 0
        return
    port = _port(server.sockets)
    log.info("console on http://%s:%d/", web.listen.rpartition(":")[0], port)
    try:
        yield port
    finally:
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        tasks = set(state.tasks)  # an answer ends when its connection does
        if tasks:
            await asyncio.wait(tasks, timeout=END_S)
        for task in state.tasks:
            task.cancel()


def _port(sockets: tuple[socket.socket, ...]) -> int:
    return int(sockets[0].getsockname()[1])
