"""Which readings become which report: of each period of a station, its last sample.

The time of the reading alone decides, so that after an outage the same reports come from the same
records, in their order. What a report was not made of was never meant for this platform; the
cursor passes it with the report that follows.
"""

from collections.abc import Iterator
from typing import NamedTuple

from protocols.export_record import ExportRecord


class DueReport(NamedTuple):
    """A report whose period is over: the device's name, its last sample, and when it ended."""

    device: str
    sample: ExportRecord
    ended_ms: int
    passes_to: int
    """Once it is confirmed, the records up to this sequence number are done with."""


class Periods:
    """The open period of each device that reports. ``period_ms`` is a whole number of minutes."""

    def __init__(self, devices: frozenset[str], period_ms: int) -> None:
        self._period_ms = period_ms
        self._devices = devices
        self._open: dict[str, tuple[int, ExportRecord, int]] = {}

    def take(self, records: tuple[ExportRecord, ...]) -> Iterator[DueReport]:
        """Take records in the order of the stream; yield the reports that they complete."""
        for record in records:
            if record.name not in self._devices or not record.is_data:
                continue
            number = record.wall_ms // self._period_ms
            open_period = self._open.get(record.name)
            if open_period is None or number == open_period[0]:
                first = record.seq if open_period is None else open_period[2]
                self._open[record.name] = (number, record, first)
            elif number > open_period[0]:
                self._open[record.name] = (number, record, record.seq)
                yield self._due(record.name, open_period)
            # A sample of a period that is over already: its report has gone.

    def close_until(self, now_ms: int) -> Iterator[DueReport]:
        """Yield the reports of periods that ended a whole period ago, without a sample since.

        A device that fell silent still reports the last it had.
        """
        for device, open_period in list(self._open.items()):
            if now_ms >= (open_period[0] + 2) * self._period_ms:
                yield self._closed(device)

    def close_all(self) -> Iterator[DueReport]:
        """Yield the reports of all open periods, as far as they got."""
        for device in list(self._open):
            yield self._closed(device)

    def _closed(self, device: str) -> DueReport:
        return self._due(device, self._open.pop(device))

    def done_to(self, seen_to: int) -> int:
        """Return up to which sequence number no open period needs a record, at most ``seen_to``."""
        return min((first - 1 for _, _, first in self._open.values()), default=seen_to)

    def _due(self, device: str, period: tuple[int, ExportRecord, int]) -> DueReport:
        number, sample, _ = period
        return DueReport(device, sample, (number + 1) * self._period_ms, self.done_to(sample.seq))
