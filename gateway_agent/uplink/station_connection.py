"""One station's TCP connection to its centre: a protocol's station with a socket and the clocks."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Final, Self, TypeAlias

from protocols.uplink import FormatError
from protocols.uplink.station import Asked, Confirmed, NotConfirmed, StationEvent, Unreadable

if TYPE_CHECKING:
    from protocols.uplink.sl427 import Sl427Station
    from protocols.uplink.sl651 import Station

#: A station's side of a protocol.
AnyStation: TypeAlias = "Station | Sl427Station"

_CONNECT_S: Final = 10.0
#: Bytes that may wait for the centre to take them before its questions are left unanswered.
MAX_UNSENT: Final = 65_536
#: In place of an answer that comes later, with :meth:`StationConnection.answer`.
LATER: Final = b""


class StationConnection(asyncio.Protocol):
    """Sends reports one at a time, answers what is asked, keeps the line alive.

    ``boot_ms`` drives every time-out; ``wall`` is written into frames. ``answer`` returns the body
    that answers a question, None for silence. ``refused`` is called for each frame of the centre
    that is none. Whatever ends the connection ends :meth:`report` and
    :meth:`tick` with an OSError.
    """

    def __init__(
        self,
        station: AnyStation,
        boot_ms: Callable[[], int],
        wall: Callable[[], datetime],
        answer: Callable[[Asked], bytes | None],
        refused: Callable[[str], None],
    ) -> None:
        self._boot_ms = boot_ms
        self._wall = wall
        self._answer = answer
        self._refused = refused
        self._station = station
        self._transport: asyncio.Transport | None = None
        self._lost: OSError | None = None
        self._confirmed: set[int] = set()
        self._changed = asyncio.Event()

    @classmethod
    async def open(
        cls,
        host: str,
        port: int,
        station: AnyStation,
        boot_ms: Callable[[], int],
        wall: Callable[[], datetime],
        answer: Callable[[Asked], bytes | None],
        refused: Callable[[str], None],
    ) -> Self:
        """Connect. OSError, TimeoutError: nobody answers at this address."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(_CONNECT_S):
            _, line = await loop.create_connection(
                lambda: cls(station, boot_ms, wall, answer, refused), host, port
            )
        return line

    async def report(self, function: int, after_time: bytes, serial: int) -> None:
        """Send a message and return once the centre confirmed it.

        Where nothing is confirmed it is sent once the operating system has all of it: what is in a
        buffer of ours is gone with the connection. OSError: the connection ended, nobody confirmed
        it three times, or the centre took nothing of it for as long as an answer may take.
        """
        self._confirmed.clear()
        number, events = self._station.send(
            function, after_time, self._wall(), self._boot_ms(), serial
        )
        self._flush()
        for event in events:
            self._take(event)
        while number not in self._confirmed:
            self._raise_if_lost()
            self._changed.clear()
            wait_ms = max(0, self._station.deadline_ms() - self._boot_ms())
            try:
                async with asyncio.timeout(wait_ms / 1000):
                    await self._changed.wait()
            except TimeoutError:
                self._resend_if_due()
        if events:
            await self._send_all()

    async def _send_all(self) -> None:
        """Wait until nothing is left in the buffer. OSError: the connection ended, or stands."""
        while left := self._unsent():
            self._raise_if_lost()
            self._changed.clear()
            try:
                async with asyncio.timeout(self._station.answer_ms / 1000):
                    await self._changed.wait()
            except TimeoutError:
                if self._unsent() >= left:
                    self._end(f"the centre takes none of the {left} bytes that wait for it")
        self._raise_if_lost()

    def _unsent(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def tick(self) -> None:
        """Keep the line alive. OSError: the connection has ended."""
        self._raise_if_lost()
        self._station.keep_alive(self._wall(), self._boot_ms())
        self._flush()

    def answer(self, asked: Asked, body: bytes) -> None:
        """Answer what was asked before."""
        self._station.answer(asked, body, self._wall(), self._boot_ms())
        self._flush()

    @property
    def is_spent(self) -> bool:
        """Return whether the next report needs a new connection."""
        return self._station.is_spent

    def close(self) -> None:
        """End the connection; no data is waited for."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport (asyncio calls this)."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(0)  # resume_writing: nothing is left
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Take what the centre sent (asyncio calls this)."""
        for event in self._station.receive(data, self._boot_ms()):
            self._take(event)
        self._flush()

    def resume_writing(self) -> None:
        """Note that everything is with the operating system (asyncio calls this)."""
        self._changed.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note why the connection ended (asyncio calls this)."""
        self._end(str(exc) if exc else "the centre closed the connection")

    def _take(self, event: StationEvent) -> None:
        match event:
            case Confirmed(serial):
                self._confirmed.add(serial)
                self._changed.set()
            case NotConfirmed(serial):
                seconds = self._station.answer_ms / 1000
                self._end(f"the centre did not confirm {serial} three times in {seconds:g} s each")
            case Asked():
                self._asked(event)
            case Unreadable(error, is_too_much):
                self._refused(str(error))
                if is_too_much:
                    self._end(f"the centre sends what is no frame: {error}")

    def _asked(self, asked: Asked) -> None:
        unsent = self._unsent()
        if unsent > MAX_UNSENT:
            text = f"the centre asks {asked.function:02X} and takes no answer: {unsent} bytes wait"
            self._refused(text)
            return
        try:
            body = self._answer(asked)
        except (FormatError, OSError) as error:
            self._refused(f"the centre asks {asked.function:02X}: {error}")
            return
        if body is None:
            self._refused(f"the centre asks {asked.function:02X}, which this station has not")
        elif body != LATER:
            self.answer(asked, body)

    def _resend_if_due(self) -> None:
        for event in self._station.tick(self._boot_ms()):
            self._take(event)
        self._flush()

    def _flush(self) -> None:
        data = self._station.outgoing()
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _end(self, reason: str) -> None:
        if self._lost is None:
            self._lost = ConnectionError(reason)
        self.close()
        self._changed.set()

    def _raise_if_lost(self) -> None:
        if self._lost is not None:
            raise self._lost
