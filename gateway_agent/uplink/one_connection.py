"""One MQTT connection with aiomqtt that is closed when its block ends, however that ends.

aiomqtt leaves socket and task behind when it is cancelled while it connects, when it gets no
answer, and after an error in reading a packet, which would be read for ever then. In a connection
that has ended it waits for an answer until its time is over. It waits for a
goodbye that a dead broker never takes, and a socket that was closed meanwhile is asked of the event
loop by its number, which may be another file's by then.
"""

import asyncio
import contextlib
import socket
from collections.abc import Iterable
from types import TracebackType
from typing import Final, Self, TypeVar

import aiomqtt
from paho.mqtt.client import Client as PahoClient
from paho.mqtt.client import DisconnectFlags
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

T = TypeVar("T")

GOODBYE_S: Final = 1.0  # a broker that does not take our DISCONNECT in this time goes without
ENDED: Final = "the connection ended before the broker answered"  # a refused certificate does that


class OneConnection(aiomqtt.Client):
    """aiomqtt's client for a single ``async with`` block."""

    _connecting = False  # a thread is at it
    _is_over = False

    async def __aenter__(self) -> Self:
        """Connect."""
        self._connecting = True
        try:
            return await super().__aenter__()
        except BaseException:
            self._release()
            raise

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Disconnect and close; a goodbye that fails is no error and takes the place of none."""
        self.timeout = GOODBYE_S
        try:
            with contextlib.suppress(aiomqtt.MqttError):
                await super().__aexit__(exc_type, exc, tb)
        finally:
            self._release()

    def _client_connect(self) -> None:
        try:
            super()._client_connect()
        finally:
            # The loop comes to this after all that aiomqtt has asked of it for this connection.
            self._loop.call_soon_threadsafe(self._note_connected)

    def _note_connected(self) -> None:
        self._connecting = False
        if self._is_over:
            self._release()

    def _release(self) -> None:
        """Close the connection. If a thread still connects, that happens when it has done so."""
        self._is_over = True
        if self._connecting:
            return
        self._client._reset_sockets()
        if self._misc_task is not None:
            self._misc_task.cancel()
        for state in (self._connected, self._disconnected):
            if state.done() and not state.cancelled():
                state.exception()  # else asyncio logs that nobody looked at it

    def _on_disconnect(
        self,
        client: PahoClient,
        userdata: object,
        flags: DisconnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        end_answers([self._connected])
        end_answers(self._pending_subscribes.values())
        if not self._connected.cancelled():  # else aiomqtt raises CancelledError into the loop
            super()._on_disconnect(client, userdata, flags, reason_code, properties)

    def _on_socket_register_write(
        self, client: PahoClient, userdata: object, sock: socket.socket
    ) -> None:
        self._loop.call_soon_threadsafe(self._write_when_ready, client, sock)

    def _write_when_ready(self, client: PahoClient, sock: socket.socket) -> None:
        number = sock.fileno()
        if number >= 0:  # else it was closed meanwhile
            self._loop.add_writer(number, self._write, client)

    def _write(self, client: PahoClient) -> None:
        try:
            client.loop_write()
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends this connection
            if not self._disconnected.done():
                self._disconnected.set_exception(error)


def end_answers(answers: Iterable[asyncio.Future[T]]) -> None:
    """End the wait for answers that cannot come any more, with MqttError."""
    for answer in answers:
        if not answer.done():
            answer.set_exception(aiomqtt.MqttError(ENDED))
            answer.exception()  # else asyncio logs that nobody looked at it
