"""The station's side of SL 651: see :mod:`protocols.uplink.station`.

The ways of transmission are those of SL 651-2014, 6.3.1: M1 sends only, M2 waits for a
confirmation, M3 sends all packets of a long body and waits for one, M4 is what the centre asks and
the station answers; a request that is not valid gets no answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from protocols.uplink.errors import FormatError
from protocols.uplink.station import (
    MAX_RESENDS,
    Asked,
    LineSettings,
    NotConfirmed,
    ReportingStation,
    StationEvent,
)
from protocols.wire.errors import BAD_VALUE, LocalError

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
_PACKET_BODY: Final = MAX_BODY_BYTES - 3
_LAST_SERIAL: Final = 0xFFFF


@dataclass(frozen=True, slots=True)
class StationSettings(LineSettings):
    """Who the station is, and how patient; ``is_confirmed``: M2, else M1."""

    centre: int
    station: bytes
    password: bytes = b"\0\0"
    packet_bytes: int = _PACKET_BODY


class Station(ReportingStation[Sl651Frame]):
    """One station on one connection. Make a new one for each connection, with the next serial.

    A body that is longer than a packet goes in several (M3). A confirmation names its message, so a
    late one harms none.
    """

    def __init__(self, settings: StationSettings, serial: int, now_ms: int) -> None:
        if len(settings.station) != STATION_BYTES or not 1 <= serial <= _LAST_SERIAL:
            raise LocalError(BAD_VALUE, "station or serial", -1, "5 bytes, 1 to 65535", serial)
        super().__init__(settings, Sl651Reader(), encode_frame, now_ms)
        self._settings = settings
        self._next_serial = serial
        self._answered: Sequence[Sl651Frame] = ()  # in several packets
        self._repeats = 0  # packets that were sent again, of it or of the message

    @property
    def next_serial(self) -> int:
        """The serial number that the next message gets, 1 to 65535."""
        return self._next_serial

    def answer(self, asked: Asked, after_time: bytes, sent: datetime, now_ms: int) -> None:
        """Answer what the centre asked, with its serial number."""
        frames = self._frames(asked.function, write_serial(asked.serial, sent) + after_time)
        self._transmit(frames, now_ms)
        self._answered, self._repeats = (frames if len(frames) > 1 else ()), 0

    def _message(
        self, function: int, after_time: bytes, sent: datetime, serial: int
    ) -> tuple[int, Sequence[Sl651Frame]]:
        self._repeats = 0
        return self._numbered(function, after_time, sent, serial or self._next_serial)

    def _keep_alive(self, sent: datetime) -> Sequence[Sl651Frame]:
        _, frames = self._numbered(KEEP_ALIVE, b"", sent, self._next_serial)
        return frames

    def _numbered(
        self, function: int, after_time: bytes, sent: datetime, serial: int
    ) -> tuple[int, Sequence[Sl651Frame]]:
        self._next_serial = serial % _LAST_SERIAL + 1
        return serial, self._frames(function, write_serial(serial, sent) + after_time)

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
            self._deadline_ms = now_ms
            return self.tick(now_ms)
        if frame.end in (EOT, ESC, ACK):
            return self._confirm()
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
