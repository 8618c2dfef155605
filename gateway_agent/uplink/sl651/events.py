"""Which samples a station reports at once (function 33, SL 651-2014, 6.6.4.6).

A value that has changed by its ``event_step`` since the last event goes without waiting for its
period, and is in the report of the period too. So an event is news: what is older than a period is
left to the reports, and the first value after a start is only what later ones are compared with.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final

from protocols.export_record import ExportRecord

from .config import StationOfDevice

EVENT_REPORT: Final = 0x33


class StationEvents:
    """What each station that reports events reported last. ``period_ms``: between two reports."""

    def __init__(self, stations: Iterable[StationOfDevice], period_ms: int) -> None:
        self._period_ms = period_ms
        self._steps = {
            station.device: steps for station in stations if (steps := _steps_of(station))
        }
        self._last: dict[str, dict[int, Decimal | None]] = {}
        self._seen: dict[str, tuple[int, int]] = {}  # stream and number of the newest sample

    def watches(self, record: ExportRecord, stream: int) -> bool:
        """Return whether this is a sample that may be an event, and was not looked at yet."""
        if record.name not in self._steps or not record.is_data:
            return False
        seen = self._seen.get(record.name)
        return seen is None or seen[0] != stream or record.seq > seen[1]

    def is_event(
        self, record: ExportRecord, values: Mapping[int, Decimal | None], now_ms: int | None
    ) -> bool:
        """Return whether a sample with these values of elements is news to the centre."""
        last = self._last.get(record.name)
        if last is None or now_ms is None or now_ms - record.wall_ms >= self._period_ms:
            return False
        return any(
            code in last and _has_changed(last[code], values[code], step)
            for code, step in self._steps[record.name].items()
        )

    def pass_by(
        self,
        record: ExportRecord,
        stream: int,
        values: Mapping[int, Decimal | None],
        is_reported: bool,
    ) -> None:
        """Note that a sample was looked at, and if it was reported, the centre has its values."""
        self._seen[record.name] = stream, record.seq
        last = self._last.setdefault(record.name, {})
        for code, value in values.items():
            is_first = code not in last
            if value is not None if is_first else is_reported:
                last[code] = value


def _steps_of(station: StationOfDevice) -> dict[int, Decimal]:
    return {
        element.identifier: Decimal(str(element.event_step))
        for element in station.element
        if element.event_step is not None
    }


def _has_changed(last: Decimal | None, value: Decimal | None, step: Decimal) -> bool:
    if last is None or value is None:  # a value that comes back is news, one that is away is not
        return last is None and value is not None
    return abs(value - last) >= step
