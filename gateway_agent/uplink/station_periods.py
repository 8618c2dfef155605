"""Which readings become which report: of each period of a station, the last of each point.

The time of the reading alone decides, so that after an outage the same reports come from the same
records, in their order. What a report was not made of was never meant for this platform; the
cursor passes it with the report that follows.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from protocols.export_record import ExportPoint, ExportRecord


class StationSample(NamedTuple):
    """A device's newest record, with the newest of each point; ``seqs``: of which records."""

    record: ExportRecord
    seqs: tuple[int, ...]


class LatestPoints:
    """The newest reading of each point that a station reports.

    A poll reads the groups of points that are due, so that one record seldom has all of them.
    """

    def __init__(self, wanted: Collection[str]) -> None:
        self._wanted = wanted
        self._latest: dict[str, tuple[ExportPoint, int, int]] = {}

    def take(self, record: ExportRecord, since_ms: int) -> StationSample:
        """Take the next record of the device; return what its points said since then."""
        for point in record.points:
            if point.name in self._wanted:
                self._latest[point.name] = point, record.wall_ms, record.seq
        found = [one for one in self._latest.values() if one[1] >= since_ms]
        seqs = sorted({seq for _, _, seq in found}) or [record.seq]
        points = tuple(point for point, _, _ in found)
        return StationSample(record._replace(points=points), tuple(seqs))


class DueReport(NamedTuple):
    """A report whose period is over: the device's name, its last sample, and when it ended."""

    device: str
    sample: StationSample
    ended_ms: int
    passes_to: int
    """Once it is confirmed, the records up to this sequence number are done with."""


class _Period(NamedTuple):
    number: int
    first: int  # sequence number
    points: LatestPoints
    sample: StationSample


class Periods:
    """The open period of each device that reports.

    ``devices`` has the points that each reports; ``period_ms`` is a whole number of minutes.
    """

    def __init__(self, devices: Mapping[str, Collection[str]], period_ms: int) -> None:
        self._period_ms = period_ms
        self._devices = devices
        self._open: dict[str, _Period] = {}
        self._dropped: list[StationSample] = []

    def take(self, records: tuple[ExportRecord, ...], now_ms: int | None) -> Iterator[DueReport]:
        """Take records in the order of the stream; yield the reports that they complete."""
        for record in records:
            if record.name not in self._devices or not record.is_data:
                continue
            number = record.wall_ms // self._period_ms
            open_period = self._open.get(record.name)
            if open_period is not None and number < open_period.number:
                self._drop_after(now_ms)
                open_period = self._open.get(record.name)
            if open_period is None:
                self._begin(number, record)
            elif number == open_period.number:
                sample = open_period.points.take(record, number * self._period_ms)
                self._open[record.name] = open_period._replace(sample=sample)
            elif number > open_period.number:
                self._begin(number, record)
                yield self._due(record.name, open_period)
            # A sample of a period that is over already: its report has gone.

    def _drop_after(self, now_ms: int | None) -> None:
        """Drop the periods that have not begun: the clock was ahead, and has been set back.

        They would take nothing of what is measured until then, and hold up the place.
        """
        for device, period in list(self._open.items()):
            if now_ms is not None and period.number * self._period_ms > now_ms:
                self._dropped.append(self._open.pop(device).sample)

    def take_dropped(self) -> list[StationSample]:
        """Return the last of each period that was dropped since the last call."""
        found, self._dropped = self._dropped, []
        return found

    def _begin(self, number: int, record: ExportRecord) -> None:
        points = LatestPoints(self._devices[record.name])
        sample = points.take(record, number * self._period_ms)
        self._open[record.name] = _Period(number, record.seq, points, sample)

    def close_until(self, now_ms: int) -> Iterator[DueReport]:
        """Yield the reports of periods that ended a whole period ago, without a sample since.

        A device that fell silent still reports the last it had.
        """
        for device, open_period in list(self._open.items()):
            if now_ms >= (open_period.number + 2) * self._period_ms:
                yield self._closed(device)

    def close_all(self) -> Iterator[DueReport]:
        """Yield the reports of all open periods, as far as they got."""
        for device in list(self._open):
            yield self._closed(device)

    def _closed(self, device: str) -> DueReport:
        return self._due(device, self._open.pop(device))

    def done_to(self, seen_to: int) -> int:
        """Return up to which sequence number no open period needs a record, at most ``seen_to``."""
        return min((period.first - 1 for period in self._open.values()), default=seen_to)

    def _due(self, device: str, period: _Period) -> DueReport:
        ended_ms, passes_to = (period.number + 1) * self._period_ms, period.sample.record.seq
        return DueReport(device, period.sample, ended_ms, self.done_to(passes_to))
