"""One connection of a link: bytes of a port on one side, the gateway's end on the other.

Everything happens in callbacks of the event loop: when bytes come, when a timer of the session is
due, when a commit is made. Nothing is raised to the loop; what goes wrong closes the connection.
"""

import asyncio
import os
from typing import Final, Protocol

from gateway_agent.clock import GatewayClock
from gateway_agent.counters import Counters
from protocols.wire.link.end import CLOSED, MESSAGE, NO_EVENT, OPENED, REFUSED, TIMED
from protocols.wire.link.gateway import GatewayEnd
from protocols.wire.link.handshake import Hello
from protocols.wire.link.messages import STOPPING

from .pushing_node import PushingNode

_UNSENT: Final = 2048  # bytes that wait in the transport before no more are given to it
_FULL_S: Final = 0.01  # until it is tried again


class LineOwner(Protocol):
    """What a connection asks of the port that it belongs to."""

    def key_of(self, line: "LinkLine", hello: Hello) -> bytes | int:
        """Return the key of a node that wants a session, or the reason to refuse it."""

    def opened(self, line: "LinkLine", hello: Hello) -> PushingNode:
        """Return the node whose session began; its key was proved."""

    def closed(self, line: "LinkLine", reason: int | None) -> None:
        """Note that the session ended; None: with the connection."""

    def refused(self, line: "LinkLine", reason: int) -> None:
        """Note that the node refuses what we sent to open a session."""


class LinkLine(asyncio.Protocol):
    """Speaks the link on one connection. ``ended`` is done when it is closed."""

    def __init__(
        self, owner: LineOwner, clock: GatewayClock, counters: Counters, baudrate: int = 0
    ) -> None:
        self.node: PushingNode | None = None
        self.ended: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.end = GatewayEnd(self._key_of, os.urandom, baud=baudrate)
        self.idle_since_ms = clock.boot_ms()  # without a session
        self._owner = owner
        self._clock = clock
        self._counters = counters
        self._noise = 0
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_closing = False

    # --- asyncio --------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to ask who is there."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self._is_closing:
            transport.abort()
            return
        self._guard(b"")

    def data_received(self, data: bytes) -> None:
        """Take bytes of the port."""
        self._guard(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the session with the connection."""
        self._stop()
        if not self.ended.done():
            self.ended.set_result(exc)

    # --- NodeLine -------------------------------------------------------------------------------

    def send(self, channel: int, message: bytes) -> bool:
        """Send a message; False if there is no room for it now."""
        if self._is_closing or not self.end.is_open or not self.end.send(channel, message):
            return False
        self._wake()
        return True

    def taken(self, channel: int, mark: int) -> None:
        """Acknowledge what was delivered up to ``mark``."""
        if not self._is_closing and self.end.is_open:
            self.end.taken(channel, mark)
            self._wake()

    # --- inside ---------------------------------------------------------------------------------

    def close(self) -> None:
        """End session and connection."""
        if self._is_closing:
            return
        transport = self._transport
        if transport is not None and self.end.is_open:
            self.end.close(STOPPING)
            size = self.end.poll(self._clock.boot_ms())
            if size:
                transport.write(bytes(self.end.tx[:size]))
        self._stop()
        if transport is not None:
            # Who does not read must not keep the connection.
            (transport.abort if transport.get_write_buffer_size() else transport.close)()
        if not self.ended.done():
            self.ended.set_result(None)

    def _stop(self) -> None:
        self._is_closing = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.node is not None:
            self.node = None
            self._owner.closed(self, None)

    def _guard(self, data: bytes) -> None:
        """Work, and close the connection if that fails."""
        if self._is_closing:
            return
        try:
            self._work(data)
        except Exception as error:  # noqa: BLE001 - who waits for the end gets it
            if not self.ended.done():
                self.ended.set_result(error)
            self._stop()
            if self._transport is not None:
                self._transport.abort()

    def _work(self, data: bytes) -> None:
        end, now_ms = self.end, self._clock.boot_ms()
        if data:
            end.feed(data, len(data), now_ms)
            noise = end.noise_bytes()
            self._counters.noise_bytes += noise - self._noise
            self._noise = noise
        self._events()
        self._send_all()
        self._events()  # a session that a timer has ended
        self._set_timer()

    def _events(self) -> None:
        end = self.end
        while (event := end.next_event()) != NO_EVENT:
            node = self.node
            if event == MESSAGE and node is not None:
                node.message(end.channel, bytes(end.message), end.mark)
            elif event == TIMED and node is not None:
                node.timed(end.clock.offset_ms)
            elif event == OPENED and end.hello is not None:
                self.node = self._owner.opened(self, end.hello)
            elif event == CLOSED:
                self.node = None
                self._owner.closed(self, end.reason)
            elif event == REFUSED:
                self._owner.refused(self, end.reason)

    def _send_all(self) -> None:
        end, transport = self.end, self._transport
        while transport is not None and transport.get_write_buffer_size() < _UNSENT:
            size = end.poll(self._clock.boot_ms())
            if not size:
                break
            transport.write(bytes(end.tx[:size]))

    def _wake(self) -> None:
        """Work in the next turn of the loop: a caller may be in the middle of it."""
        self._arm(0.0)

    def _set_timer(self) -> None:
        wait_ms = self.end.wait_ms(self._clock.boot_ms())
        transport = self._transport
        if wait_ms < 0:
            self._arm(None)
        elif transport is not None and transport.get_write_buffer_size() >= _UNSENT:
            self._arm(max(wait_ms / 1000, _FULL_S))
        else:
            self._arm(wait_ms / 1000)

    def _arm(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is not None and not self._is_closing:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._guard, b"")

    def _key_of(self, hello: Hello) -> bytes | int:
        return self._owner.key_of(self, hello)
