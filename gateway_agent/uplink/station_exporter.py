"""What the exporters of SL 651 and SL 427 share: of each station the last of each period.

Each station has a connection of its own. A report is confirmed before the next one goes, and the
place in the outbox follows what was confirmed.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import ClassVar, Final, NoReturn

from gateway_agent.cancellation import raise_if_cancelled
from gateway_agent.rare_log import RareLog
from protocols.export_record import ExportRecord, Portion, SentMessage
from protocols.uplink.station import Asked

from .command_audit import CommandAudit
from .feed import ExportContext, Feed
from .station_connection import AnyStation, StationConnection
from .station_periods import DueReport, LatestPoints, Periods, StationSample
from .station_tables import StationUplink

_logger: Final = logging.getLogger(__name__)
_WAIT_S: Final = 0.5
_NO_CLOCK_MS: Final = 946_684_800_000  # 2000-01-01


class StationExporter(ABC):
    """Reports of each device the last sample of each period, and awaits the centre."""

    _frame_bytes: ClassVar[int]  # what a frame has beside its data
    _says_when: ClassVar[bool]  # frames have the time they are sent at, so none without a clock

    def __init__(
        self,
        config: StationUplink,
        devices: Mapping[str, Collection[str]],
        context: ExportContext,
    ) -> None:
        """``devices``: the names of those that are stations, and the points that each reports."""
        self._label = config.label
        self._where = config.host, config.port
        self._period_ms = config.report_min * 60_000
        self._devices = devices
        self._latest = {name: LatestPoints(points) for name, points in devices.items()}
        self._clock = context.clock
        self._newest: dict[str, ExportRecord] = {}  # sample of each station
        self._lines: dict[str, StationConnection] = {}
        self._rare = RareLog(_logger)
        self._audit = CommandAudit(f"{config.kind}: {config.label}", context)

    async def run(self, feed: Feed) -> NoReturn:
        """Export until something ends it. OSError: a connection ended, or nobody confirmed."""
        try:
            await self._export(feed)
        finally:
            for line in self._lines.values():
                line.close()
            self._lines.clear()
            feed.status.connected = False

    async def _export(self, feed: Feed) -> NoReturn:
        periods = Periods(self._devices, self._period_ms)
        last: Portion | None = None
        while True:
            raise_if_cancelled()
            portion = await feed.next(_WAIT_S)
            if portion is not None:
                if last is not None and portion.stream != last.stream:
                    for due in periods.close_all():
                        await self._report(feed, due)
                last = portion
                await self._take(feed, portion, periods)
            now_ms = self._clock.wall().wall_ms
            is_all_read = portion is None or portion.is_newest
            if last is not None and is_all_read and now_ms is not None:
                await self._close(feed, periods, last, now_ms)
            # A centre asks before there is anything to report.
            if now_ms is not None or not self._says_when:
                for device in self._devices:
                    await self._line(feed, device)
            for line in self._lines.values():
                line.tick()

    async def _take(self, feed: Feed, portion: Portion, periods: Periods) -> None:
        samples = [
            self._latest[record.name].take(record, record.wall_ms - self._period_ms)
            for record in portion.records
            if record.is_data and record.name in self._devices
        ]
        self._newest |= {sample.record.name: sample.record for sample in samples}
        sent = await self._send_at_once(feed, portion, samples)
        for due in periods.take(portion.records, self._clock.wall().wall_ms):
            await self._name_dropped(feed, portion.stream, periods)
            await self._deliver(feed, due, portion, due.passes_to)
        await self._name_dropped(feed, portion.stream, periods)
        await feed.delivered(portion, self._done_to(periods.done_to(portion.last)), sent)
        feed.settled_to = self._done_to(portion.last)

    async def _name_dropped(self, feed: Feed, stream: int, periods: Periods) -> None:
        """Name what the clock had dated ahead, before the place moves past it."""
        for record, seqs in periods.take_dropped():
            at = datetime.fromtimestamp(record.wall_ms / 1000, UTC)
            text = f"the period of {record.name} at {at:%Y-%m-%dT%H:%MZ} is ahead of the clock"
            self._leave_out(f"{text}: it is not reported")
            await feed.trace(stream, [SentMessage(record.name, seqs, "given up", text)])

    async def _send_at_once(
        self, feed: Feed, portion: Portion, samples: list[StationSample]
    ) -> list[SentMessage]:
        """Send what does not wait for the end of its period."""
        return []

    async def _close(self, feed: Feed, periods: Periods, last: Portion, now_ms: int) -> None:
        """Report the periods that no record completes any more: all up to now are read."""
        for due in periods.close_until(now_ms):
            await self._deliver(feed, due, last, periods.done_to(last.last))

    def _done_to(self, seen_to: int) -> int:
        """Return up to which record, ``seen_to`` at most, nothing but a period needs them."""
        return seen_to

    async def _deliver(self, feed: Feed, due: DueReport, portion: Portion, to: int) -> None:
        """Report a period; the place moves to ``to`` in ``portion``."""
        sent = await self._report(feed, due)
        await feed.delivered(portion, self._done_to(to), [sent])

    @abstractmethod
    async def _report(self, feed: Feed, due: DueReport) -> SentMessage:
        """Report a period. OSError: it was not confirmed."""

    async def _send(
        self, feed: Feed, device: str, function: int, data: bytes, serial: int, records: int = 1
    ) -> None:
        """Send a message and wait for its confirmation. OSError: there was none."""
        await feed.spend(self._frame_bytes + len(data), records)
        line = await self._line(feed, device)
        await line.report(function, data, serial)
        if line.is_spent:
            line.close()
            del self._lines[device]

    async def _line(self, feed: Feed, device: str) -> StationConnection:
        """Return the connection of a station."""
        line = self._lines.get(device)
        if line is None:
            answer, refused = partial(self._answer, device), partial(self._refuse, feed)
            line = await StationConnection.open(
                *self._where,
                self._station_of(device),
                self._clock.boot_ms,
                self._now,
                answer,
                refused,
            )
            self._lines[device] = line
            feed.status.connected = True
        return line

    @abstractmethod
    def _station_of(self, device: str) -> AnyStation:
        """Return the station's side of a new connection."""

    @abstractmethod
    def _answer(self, device: str, asked: Asked) -> bytes | None:
        """Return the answer to a question; see :class:`StationConnection`."""

    def _refuse(self, feed: Feed, text: str) -> None:
        feed.status.rejected += 1
        self._leave_out(text)

    def _leave_out(self, text: str) -> None:
        self._rare.warning(f"uplink {self._label}: {text}")

    def _now(self) -> datetime:
        """Return the time that a frame is sent at; without a clock it is 2000."""
        return datetime.fromtimestamp((self._clock.wall().wall_ms or _NO_CLOCK_MS) / 1000, UTC)
