"""The station's side of SL 427: log in, one report at a time, sent until the centre confirms it.

A state machine without a socket or a clock, of the form of :class:`protocols.uplink.sl651.Station`.
From implementations: a report is confirmed by a frame down with the same function, and there is no
number in either, so that a confirmation that comes late could be taken for that of the next report.
After a report that was sent more than once, :attr:`Sl427Station.is_spent` is true, and the program
goes on with a new connection, on which nothing old can come.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from protocols.uplink.errors import FormatError
from protocols.uplink.sl651 import Asked, Confirmed, NotConfirmed, StationEvent, Unreadable
from protocols.wire.errors import BAD_ORDER, BAD_VALUE, LocalError

from .frame import LINK, SELF_REPORT, Sl427Frame, Sl427Reader, encode_sl427

MAX_RESENDS: Final = 2
MAX_REFUSED: Final = 8
_LOG_IN: Final = b"\xf0"
_KEEP: Final = b"\xf2"
_UP: Final = 0xB0  # upward, and the counter of frames at its highest, as stations are seen
_KIND: Final = 0x0F
_CONFIRMATION: Final = 0
_UNTIMED: Final = datetime(2000, 1, 1, tzinfo=UTC)  # a question has no time in it


@dataclass(frozen=True, slots=True)
class Sl427Settings:
    """Who the station is, and how patient; ``is_confirmed``: whether the centre answers."""

    address: bytes
    is_confirmed: bool = True
    answer_ms: int = 10_000
    keep_alive_ms: int = 40_000


class Sl427Station:
    """One station on one connection; make a new one for each."""

    def __init__(self, settings: Sl427Settings, now_ms: int) -> None:
        self._settings = settings
        self._reader = Sl427Reader()
        self._refused = 0
        self._out = bytearray()
        self._waiting: Sl427Frame | None = None
        self._serial = 0
        self._resends = 0
        self._deadline_ms = 0
        self._quiet_since_ms = now_ms
        self.is_spent = False
        """Whether a confirmation may still come that belongs to a report before."""
        self._transmit(self._frame(_CONFIRMATION, LINK, _LOG_IN), now_ms)

    @property
    def answer_ms(self) -> int:
        """Return how long a confirmation is waited for."""
        return self._settings.answer_ms

    def outgoing(self) -> bytes:
        """Return the bytes to send now, and forget them."""
        data, self._out = bytes(self._out), bytearray()
        return data

    def send(
        self, function: int, after_time: bytes, sent: datetime, now_ms: int, serial: int = 0
    ) -> tuple[int, list[StationEvent]]:
        """Send a self-report of the quantity ``function`` with this data; ``serial`` is ours.

        LocalError: the report before it is not settled yet.
        """
        if self._waiting is not None or self.is_spent:
            raise LocalError(BAD_ORDER, "report", -1, "a settled connection", "none")
        frame = self._frame(function, SELF_REPORT, after_time)
        self._transmit(frame, now_ms)
        if not self._settings.is_confirmed:
            return serial, [Confirmed(serial)]
        self._waiting, self._serial, self._resends = frame, serial, 0
        self._deadline_ms = now_ms + self._settings.answer_ms
        return serial, []

    def answer(self, asked: Asked, after_time: bytes, sent: datetime, now_ms: int) -> None:
        """Answer what the centre asked, about the quantity that it asked for."""
        self._transmit(self._frame(asked.serial, asked.function, after_time), now_ms)

    def keep_alive(self, sent: datetime, now_ms: int) -> bool:
        """Send a keep-alive if the line was quiet for long enough; return whether."""
        due_ms = self._quiet_since_ms + self._settings.keep_alive_ms
        is_due = self._waiting is None and now_ms >= due_ms
        if is_due:
            self._transmit(self._frame(_CONFIRMATION, LINK, _KEEP), now_ms)
        return is_due

    def deadline_ms(self) -> int:
        """Return when :meth:`tick` or :meth:`keep_alive` has something to do."""
        if self._waiting is not None:
            return self._deadline_ms
        return self._quiet_since_ms + self._settings.keep_alive_ms

    def tick(self, now_ms: int) -> list[StationEvent]:
        """Send again what nobody confirmed in time, or give it up after three times."""
        if self._waiting is None or now_ms < self._deadline_ms:
            return []
        if self._resends == MAX_RESENDS:
            self._waiting = None
            return [NotConfirmed(self._serial)]
        self._resends += 1
        self._transmit(self._waiting, now_ms)
        self._deadline_ms = now_ms + self._settings.answer_ms
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

    def _meaning(self, frame: Sl427Frame, now_ms: int) -> list[StationEvent]:
        own = self._settings.address
        if frame.is_up or frame.address != own:
            way = "up" if frame.is_up else "down"
            got = f"{way}, {frame.address.hex().upper()}"
            raise FormatError(BAD_VALUE, "address", 4, f"down to {own.hex().upper()}", got)
        self._quiet_since_ms = now_ms
        kind = frame.control & _KIND
        if frame.function == LINK:
            return []
        if frame.function != SELF_REPORT:
            return [Asked(frame.function, kind, _UNTIMED, frame.data)]
        waiting = self._waiting
        if waiting is None or kind not in (_CONFIRMATION, waiting.control & _KIND):
            return []
        self._waiting, self.is_spent = None, self._resends > 0
        return [Confirmed(self._serial)]

    def _frame(self, kind: int, function: int, data: bytes) -> Sl427Frame:
        return Sl427Frame(_UP | kind, self._settings.address, function, data)

    def _transmit(self, frame: Sl427Frame, now_ms: int) -> None:
        self._out += encode_sl427(frame)
        self._quiet_since_ms = now_ms
