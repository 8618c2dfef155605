"""Serves the console in the agent's own loop; whatever goes wrong here, data goes on.

Only what the console needs of uvicorn is used: its server would take the signals of the agent.
"""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.server import ServerState

from gateway_agent.cancellation import whatever_comes
from gateway_agent.config import WebConfig

from .certificate import Certificate
from .connection import Acceptor

log = logging.getLogger(__name__)

END_S: Final = 0.5  # for answers to end when the agent stops
MAX_HEAD: Final = 16 << 10  # bytes of a request before its body


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
    certificate = Certificate.of(web)
    try:
        listener = _listen(web)
    except OSError as error:
        log.error("web.listen = %s: %s; the gateway works without its console", web.listen, error)
        yield 0
        return
    port = int(listener.getsockname()[1])
    scheme = "http" if certificate is None else "https"
    log.info("console on %s://%s:%d/", scheme, web.listen.rpartition(":")[0], port)
    accepting = asyncio.create_task(Acceptor(config, state, certificate).run(listener))
    try:
        yield port
    finally:
        accepting.cancel()
        await whatever_comes(asyncio.wait({accepting}))
        listener.close()
        for connection in list(state.connections):
            connection.transport.abort()
        tasks = set(state.tasks)  # an answer ends when its connection does
        if tasks:
            await asyncio.wait(tasks, timeout=END_S)
        for task in state.tasks:
            task.cancel()


def _listen(web: WebConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in web.host else socket.AF_INET
    listener = socket.create_server((web.host, web.port), family=family, backlog=128)
    listener.setblocking(False)
    return listener
