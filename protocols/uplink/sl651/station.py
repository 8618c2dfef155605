"""The station's side of SL 651: one message at a time, sent until the centre confirms it.

A state machine without a socket or a clock: :meth:`Station.send` and :meth:`Station.receive` take
bytes and milliseconds of any steady clock and return events; what has to go out is fetched with
:meth:`Station.outgoing`. The ways of transmission are those of SL 651-2014, 6.3.1: M1 sends only,
M2 waits for a confirmation, M3 sends all packets of a long body and waits for one, M4 is what the
centre asks and the station answers; a request that is not valid gets no answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from protocols.uplink.errors import FormatError
from protocols.wire.errors import BAD_ORDER, BAD_VALUE, LocalError

from .frame import (
    ACK,
    ENQ,
    EOT,
    ESC,
    ETB,
    ETX,
    MAX_BODY_BYTES,
    NAK,
    STATION_BYTES,
    Sl651Frame,
    Sl651Reader,
    encode_frame,
)
from .report import read_serial, write_serial

KEEP_ALIVE: Final = 0x2F
#: Sent three times in all, then the link is given up (SL 651-2014, 6.3.2.3).
MAX_RESENDS: Final = 2
#: Frames that cannot be read in a row before the connection is to be closed.
MAX_REFUSED: Final = 8
_PACKET_BODY: Final = MAX_BODY_BYTES - 3
_LAST_SERIAL: Final = 0xFFFF


@dataclass(frozen=True, slots=True)
class StationSettings:
    """Who the station is, and how patient.

    ``is_confirmed``: M2; else M1, where nothing says whether a message arrived.
    """

    centre: int
    station: bytes
    password: bytes = b"\0\0"
    is_confirmed: bool = True
    answer_ms: int = 10_000
    keep_alive_ms: int = 40_000
    packet_bytes: int = _PACKET_BODY


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The centre confirmed the message with this serial number; in M1: it was sent."""

    serial: int


@dataclass(frozen=True, slots=True)
class NotConfirmed:
    """Nobody confirmed the message, although it was sent three times: close the connection."""

    serial: int


@dataclass(frozen=True, slots=True)
class Asked:
    """The centre asks (M4): answer with :meth:`Station.answer`, or leave it."""

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


class Station:
    """One station on one connection. Make a new one for each connection, with the next serial."""

    def __init__(self, settings: StationSettings, serial: int, now_ms: int) -> None:
        if len(settings.station) != STATION_BYTES or not 1 <= serial <= _LAST_SERIAL:
            raise LocalError(BAD_VALUE, "station or serial", -1, "5 bytes, 1 to 65535", serial)
        self._settings = settings
        self._next_serial = serial
        self._reader = Sl651Reader()
        self._refused = 0
        self._out = bytearray()
        self._waiting: Sequence[Sl651Frame] = ()
        self._serial = 0
        self._resends = 0
        self._answered: Sequence[Sl651Frame] = ()  # in several packets
        self._repeats = 0  # packets of it that were sent again
        self._deadline_ms = 0
        self._quiet_since_ms = now_ms

    @property
    def next_serial(self) -> int:
        """The serial number that the next message gets, 1 to 65535."""
        return self._next_serial

    @property
    def answer_ms(self) -> int:
        """Return how long a confirmation is waited for."""
        return self._settings.answer_ms

    @property
    def is_spent(self) -> bool:
        """Return False: a confirmation names its report, so a late one harms none."""
        return False

    def is_idle(self) -> bool:
        """Return whether :meth:`send` takes a message now."""
        return not self._waiting

    def outgoing(self) -> bytes:
        """Return the bytes to send now, and forget them."""
        data, self._out = bytes(self._out), bytearray()
        return data

    def send(
        self, function: int, after_time: bytes, sent: datetime, now_ms: int, serial: int = 0
    ) -> tuple[int, list[StationEvent]]:
        """Send a message; ``after_time`` is its body behind serial number and time of sending.

        ``serial``: its number, where the sender must be able to repeat it on another connection;
        0: the next one. A body that is longer than a packet goes in several (M3). Returns the
        serial number, and the events that this causes. LocalError: the message before it is not
        settled yet.
        """
        if self._waiting:
            raise LocalError(BAD_ORDER, "message", -1, "the confirmation of the one before", "none")
        serial = serial or self._next_serial
        self._next_serial = serial % _LAST_SERIAL + 1
        frames = self._frames(function, write_serial(serial, sent) + after_time)
        self._transmit(frames, now_ms)
        if not self._settings.is_confirmed:
            return serial, [Confirmed(serial)]
        self._waiting, self._serial, self._resends, self._repeats = frames, serial, 0, 0
        self._deadline_ms = now_ms + self._patience_ms()
        return serial, []

    def answer(self, asked: Asked, after_time: bytes, sent: datetime, now_ms: int) -> None:
        """Answer what the centre asked, with its serial number."""
        frames = self._frames(asked.function, write_serial(asked.serial, sent) + after_time)
        self._transmit(frames, now_ms)
        self._answered, self._repeats = (frames if len(frames) > 1 else ()), 0

    def keep_alive(self, sent: datetime, now_ms: int) -> bool:
        """Send a keep-alive if the line was quiet for long enough; return whether."""
        is_due = not self._waiting and now_ms >= self._quiet_since_ms + self._settings.keep_alive_ms
        if is_due:
            serial = self._next_serial
            self._next_serial = serial % _LAST_SERIAL + 1
            self._transmit(self._frames(KEEP_ALIVE, write_serial(serial, sent)), now_ms)
        return is_due

    def deadline_ms(self) -> int:
        """Return when :meth:`tick` or :meth:`keep_alive` has something to do."""
        if self._waiting:
            return self._deadline_ms
        return self._quiet_since_ms + self._settings.keep_alive_ms

    def tick(self, now_ms: int) -> list[StationEvent]:
        """Send again what nobody confirmed in time, or give it up after three times."""
        if not self._waiting or now_ms < self._deadline_ms:
            return []
        if self._resends == MAX_RESENDS:
            self._waiting = ()
            return [NotConfirmed(self._serial)]
        self._resend(now_ms)
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

    def _meaning(self, frame: Sl651Frame, now_ms: int) -> list[StationEvent]:
        settings = self._settings
        if not frame.is_down or frame.station != settings.station:
            expected = f"a frame down to station {settings.station.hex().upper()}"
            way = "down" if frame.is_down else "up"
            raise FormatError(
                BAD_VALUE, "address", 2, expected, f"{way}, {frame.station.hex().upper()}"
            )
        serial, sent = read_serial(frame.body)
        self._quiet_since_ms = now_ms
        if frame.end == ENQ:
            if frame.password != settings.password:
                raise FormatError(BAD_VALUE, "password", 8, "that of this station", "another")
            return [Asked(frame.function, serial, sent, frame.body[8:])]
        if frame.end == NAK and frame.number:
            return self._again(frame, now_ms)
        is_ours = bool(self._waiting) and (serial, frame.function) == (
            self._serial,
            self._waiting[0].function,
        )
        if not is_ours:
            return []  # a confirmation that came twice, or late
        if frame.end == NAK:
            return self._tick_now(now_ms)
        if frame.end in (EOT, ESC, ACK):
            self._waiting = ()
            return [Confirmed(serial)]
        return []

    def _again(self, refused: Sl651Frame, now_ms: int) -> list[StationEvent]:
        """Send the one packet again that the centre names (6.3.1.2 c), with ETX as its end."""
        is_report = bool(self._waiting) and self._waiting[0].function == refused.function
        frames = self._waiting if is_report else self._answered
        if refused.number > len(frames) or frames[0].function != refused.function:
            return []
        if self._repeats >= MAX_RESENDS * len(frames):
            self._waiting = self._waiting if not is_report else ()
            return [NotConfirmed(self._serial)] if is_report else []
        self._repeats += 1
        self._transmit([replace(frames[refused.number - 1], end=ETX)], now_ms)
        self._deadline_ms = now_ms + self._settings.answer_ms
        return []

    def _tick_now(self, now_ms: int) -> list[StationEvent]:
        self._deadline_ms = now_ms
        return self.tick(now_ms)

    def _resend(self, now_ms: int) -> None:
        self._resends += 1
        self._transmit(self._waiting, now_ms)
        self._deadline_ms = now_ms + self._patience_ms()

    def _patience_ms(self) -> int:
        """Return how long to wait: packets need time on a line of 2000 bytes in a second too."""
        packets = self._waiting if len(self._waiting) > 1 else ()
        return self._settings.answer_ms + sum(len(frame.body) for frame in packets) // 2

    def _frames(self, function: int, body: bytes) -> list[Sl651Frame]:
        settings = self._settings
        whole = Sl651Frame(
            settings.centre, settings.station, settings.password, function, body, ETX
        )
        if len(body) <= settings.packet_bytes:
            return [whole]
        size = settings.packet_bytes
        parts = [body[at : at + size] for at in range(0, len(body), size)]
        return [
            replace(
                whole,
                body=part,
                end=ETX if number == len(parts) else ETB,
                number=number,
                total=len(parts),
            )
            for number, part in enumerate(parts, 1)
        ]

    def _transmit(self, frames: Sequence[Sl651Frame], now_ms: int) -> None:
        for frame in frames:
            self._out += encode_frame(frame)
        self._quiet_since_ms = now_ms
