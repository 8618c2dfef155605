"""What stations of SL 651 and SL 427 share: a message at a time, until the centre confirms it.

A state machine without a socket or a clock: :meth:`ReportingStation.send` and
:meth:`ReportingStation.receive` take bytes and milliseconds of any steady clock and return events;
what has to go out is fetched with :meth:`ReportingStation.outgoing`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Generic, TypeVar

from protocols.wire.errors import BAD_ORDER, LocalError

from .errors import FormatError
from .resync import ResyncReader

__all__ = [
    "Asked",
    "Confirmed",
    "LineSettings",
    "NotConfirmed",
    "ReportingStation",
    "StationEvent",
    "Unreadable",
]

#: Sent three times in all, then the link is given up (SL 651-2014, 6.3.2.3).
MAX_RESENDS: Final = 2
#: Frames that cannot be read in a row before the connection is to be closed.
MAX_REFUSED: Final = 8

F = TypeVar("F")


@dataclass(frozen=True, slots=True, kw_only=True)
class LineSettings:
    """How patient a station is; ``is_confirmed``: whether the centre says that a message came."""

    is_confirmed: bool = True
    answer_ms: int = 10_000
    keep_alive_ms: int = 40_000


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The centre confirmed the message with this serial number; without confirmations: sent."""

    serial: int


@dataclass(frozen=True, slots=True)
class NotConfirmed:
    """Nobody confirmed the message, although it was sent three times: close the connection."""

    serial: int


@dataclass(frozen=True, slots=True)
class Asked:
    """The centre asks: answer with :meth:`ReportingStation.answer`, or leave it."""

    function: int
    serial: int
    sent: datetime
    body: bytes


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The centre sent what is no frame for this station. ``is_too_much``: close the connection."""

    error: FormatError
    is_too_much: bool


StationEvent = Confirmed | NotConfirmed | Asked | Unreadable


class ReportingStation(ABC, Generic[F]):
    """One station on one connection; make a new one for each."""

    is_spent = False
    """Whether a confirmation may still come that belongs to a message before."""

    def __init__(
        self,
        line: LineSettings,
        reader: ResyncReader[F],
        encode: Callable[[F], bytes],
        now_ms: int,
    ) -> None:
        self._line = line
        self._reader = reader
        self._encode = encode
        self._refused = 0
        self._out = bytearray()
        self._waiting: Sequence[F] = ()  # the frames of a message that is not confirmed yet
        self._serial = 0  # of that message
        self._resends = 0
        self._deadline_ms = 0
        self._quiet_since_ms = now_ms

    @property
    def answer_ms(self) -> int:
        """Return how long a confirmation is waited for."""
        return self._line.answer_ms

    def is_idle(self) -> bool:
        """Return whether :meth:`send` takes a message now."""
        return not self._waiting and not self.is_spent

    def outgoing(self) -> bytes:
        """Return the bytes to send now, and forget them."""
        data, self._out = bytes(self._out), bytearray()
        return data

    def send(
        self, function: int, after_time: bytes, sent: datetime, now_ms: int, serial: int = 0
    ) -> tuple[int, list[StationEvent]]:
        """Send a message; ``after_time`` is its body behind serial number and time of sending.

        ``serial``: its number, where the sender must be able to repeat it on another connection;
        0: the next one. Returns the serial number, and the events that this causes. LocalError: the
        message before it is not settled yet.
        """
        if not self.is_idle():
            raise LocalError(BAD_ORDER, "message", -1, "the confirmation of the one before", "none")
        serial, frames = self._message(function, after_time, sent, serial)
        self._transmit(frames, now_ms)
        if not self._line.is_confirmed:
            return serial, [Confirmed(serial)]
        self._waiting, self._serial, self._resends = frames, serial, 0
        self._deadline_ms = now_ms + self._patience_ms()
        return serial, []

    @abstractmethod
    def answer(self, asked: Asked, after_time: bytes, sent: datetime, now_ms: int) -> None:
        """Answer what the centre asked."""

    def keep_alive(self, sent: datetime, now_ms: int) -> bool:
        """Send a keep-alive if the line was quiet for long enough; return whether."""
        is_due = not self._waiting and now_ms >= self.deadline_ms()
        if is_due:
            self._transmit(self._keep_alive(sent), now_ms)
        return is_due

    def deadline_ms(self) -> int:
        """Return when :meth:`tick` or :meth:`keep_alive` has something to do."""
        if self._waiting:
            return self._deadline_ms
        return self._quiet_since_ms + self._line.keep_alive_ms

    def tick(self, now_ms: int) -> list[StationEvent]:
        """Send again what nobody confirmed in time, or give it up after three times."""
        if not self._waiting or now_ms < self._deadline_ms:
            return []
        if self._resends == MAX_RESENDS:
            self._waiting = ()
            return [NotConfirmed(self._serial)]
        self._resends += 1
        self._transmit(self._waiting, now_ms)
        self._deadline_ms = now_ms + self._patience_ms()
        return []

    def receive(self, data: bytes, now_ms: int) -> list[StationEvent]:
        """Take what came from the centre; return what it means."""
        self._reader.feed(data)
        events: list[StationEvent] = []
        while self._refused < MAX_REFUSED:
            try:
                frame = self._reader.next_frame()
                if frame is None:
                    break
                events += self._meaning(frame, now_ms)
                self._refused = 0
            except FormatError as error:
                self._refused += 1
                events.append(Unreadable(error, self._refused == MAX_REFUSED))
        return events

    def _confirm(self) -> list[StationEvent]:
        self._waiting = ()
        return [Confirmed(self._serial)]

    def _transmit(self, frames: Sequence[F], now_ms: int) -> None:
        for frame in frames:
            self._out += self._encode(frame)
        self._quiet_since_ms = now_ms

    def _patience_ms(self) -> int:
        """Return how long to wait for the confirmation of what waits."""
        return self._line.answer_ms

    @abstractmethod
    def _message(
        self, function: int, after_time: bytes, sent: datetime, serial: int
    ) -> tuple[int, Sequence[F]]:
        """Return the serial number and the frames of a message; see :meth:`send`."""

    @abstractmethod
    def _keep_alive(self, sent: datetime) -> Sequence[F]:
        """Return what keeps the line alive."""

    @abstractmethod
    def _meaning(self, frame: F, now_ms: int) -> list[StationEvent]:
        """Return what a frame of the centre means. FormatError: it is not for this station."""
