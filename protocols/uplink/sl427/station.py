"""The station's side of SL 427: log in, then what :mod:`protocols.uplink.station` has.

From implementations: a report is confirmed by a frame down with the same function, and there is no
number in either, so that a confirmation that comes late could be taken for that of the next report.
After a report that was sent more than once, ``is_spent`` is true, and the program goes on with a
new connection, on which nothing old can come.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from protocols.uplink.errors import FormatError
from protocols.uplink.station import Asked, LineSettings, ReportingStation, StationEvent
from protocols.wire.errors import BAD_VALUE

from .frame import LINK, SELF_REPORT, Sl427Frame, Sl427Reader, encode_sl427

_LOG_IN: Final = b"\xf0"
_KEEP: Final = b"\xf2"
_UP: Final = 0xB0  # upward, and the counter of frames at its highest, as stations are seen
_KIND: Final = 0x0F
_CONFIRMATION: Final = 0
_UNTIMED: Final = datetime(2000, 1, 1, tzinfo=UTC)  # a question has no time in it


@dataclass(frozen=True, slots=True)
class Sl427Settings(LineSettings):
    """Who the station is, and how patient."""

    address: bytes


class Sl427Station(ReportingStation[Sl427Frame]):
    """One station on one connection; make a new one for each.

    The ``function`` of a message is the quantity of a self-report, its serial number is ours.
    """

    def __init__(self, settings: Sl427Settings, now_ms: int) -> None:
        super().__init__(settings, Sl427Reader(), encode_sl427, now_ms)
        self._address = settings.address
        self._transmit([self._frame(_CONFIRMATION, LINK, _LOG_IN)], now_ms)

    def answer(self, asked: Asked, after_time: bytes, sent: datetime, now_ms: int) -> None:
        """Answer what the centre asked, about the quantity that it asked for."""
        self._transmit([self._frame(asked.serial, asked.function, after_time)], now_ms)

    def _message(
        self, function: int, after_time: bytes, sent: datetime, serial: int
    ) -> tuple[int, Sequence[Sl427Frame]]:
        return serial, [self._frame(function, SELF_REPORT, after_time)]

    def _keep_alive(self, sent: datetime) -> Sequence[Sl427Frame]:
        return [self._frame(_CONFIRMATION, LINK, _KEEP)]

    def _meaning(self, frame: Sl427Frame, now_ms: int) -> list[StationEvent]:
        own = self._address
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
        if not self._waiting or kind not in (_CONFIRMATION, self._waiting[0].control & _KIND):
            return []
        self.is_spent = self._resends > 0
        return self._confirm()

    def _frame(self, kind: int, function: int, data: bytes) -> Sl427Frame:
        return Sl427Frame(_UP | kind, self._address, function, data)
