"""Bounds what one connection may cost: its number, the time of its handshake and its requests.

A connection that has sent no whole request within ten seconds is closed, on its first request and
on each one after; so is a reader who takes nothing for half a minute.
"""

import asyncio
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from ipaddress import ip_address
from typing import Final, NoReturn

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from gateway_agent.cancellation import raise_if_cancelled
from gateway_agent.rare_log import RareLog

from .certificate import Certificate
from .handshakes import Handshakes

log = logging.getLogger(__name__)

MAX_CONNECTIONS: Final = 100
MAX_OF_ADDRESS: Final = 40  # of another machine
REQUEST_S: Final = 10.0
HANDSHAKE_S: Final = 10.0
STALLED_S: Final = 30.0


class _Connection(H11Protocol):
    """A connection that must bring each request soon, and take its answer."""

    def __init__(
        self, config: uvicorn.Config, state: ServerState, left: Callable[[], None]
    ) -> None:
        super().__init__(config, state, {})
        self._left = left
        self._deadline: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # of uvicorn itself
        super().connection_made(transport)
        self._expect_request()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._is_answering:
            self._expect_nothing()
        elif self._deadline is None:
            self._expect_request()

    @property
    def _is_answering(self) -> bool:
        cycle = getattr(self, "cycle", None)
        return cycle is not None and not cycle.response_complete

    def _expect_request(self) -> None:
        self._deadline = self.loop.call_later(REQUEST_S, self.transport.abort)

    def _expect_nothing(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(STALLED_S, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        self._left()
        for timer in (self._deadline, self._stalled):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)


class Acceptor:
    """Takes connections of a listening socket as long as there is room for them.

    They are counted before the handshake of TLS, which costs time and memory too.
    """

    def __init__(
        self, config: uvicorn.Config, state: ServerState, certificate: Certificate | None
    ) -> None:
        self._config = config
        self._state = state
        self._certificate = certificate
        self._count: Counter[str] = Counter()
        self._shaking: set[asyncio.Task[None]] = set()
        self._handshakes = Handshakes()
        self._log = RareLog(log)

    async def run(self, listener: socket.socket) -> NoReturn:
        """Accept until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                raise_if_cancelled()
                try:
                    client, address = await loop.sock_accept(listener)
                except OSError as error:
                    self._log.warning(f"the console cannot take a connection: {error}")
                    await asyncio.sleep(1.0)
                    continue
                self._take(client, str(address[0]))
        finally:
            for task in self._shaking:
                task.cancel()

    def _take(self, client: socket.socket, host: str) -> None:
        is_loopback = ip_address(host.partition("%")[0]).is_loopback
        most = MAX_CONNECTIONS if is_loopback else MAX_OF_ADDRESS
        if self._count.total() >= MAX_CONNECTIONS or self._count[host] >= most:
            client.close()
            self._log.warning(f"the console has too many connections, one from {host} was closed")
            return
        if self._certificate is not None and not self._handshakes.may_begin(host, is_loopback):
            client.close()
            self._log.warning(
                f"connections to the console come too fast, one from {host} was closed"
            )
            return
        self._count[host] += 1
        task = asyncio.create_task(self._greet(client, host))
        self._shaking.add(task)
        task.add_done_callback(self._shaking.discard)

    async def _greet(self, client: socket.socket, host: str) -> None:
        context = None if self._certificate is None else self._certificate.context()
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: _Connection(self._config, self._state, lambda: self._leave(host)),
                client,
                ssl=context,
                ssl_handshake_timeout=None if context is None else HANDSHAKE_S,
                ssl_shutdown_timeout=None if context is None else HANDSHAKE_S,
            )
        except (OSError, ssl.SSLError) as error:  # no handshake, so no protocol that leaves
            self._leave(host)
            log.debug("no connection from %s: %s", host, error)
        except asyncio.CancelledError:
            client.close()
            raise

    def _leave(self, host: str) -> None:
        self._count[host] -= 1
        if self._count[host] <= 0:
            del self._count[host]
