"""The exporter to a centre station of SL 651: of each station the last sample of each period."""

import logging
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, NoReturn

from gateway_agent.cancellation import raise_if_cancelled
from gateway_agent.rare_log import RareLog
from gateway_agent.uplink.feed import ExportContext, Feed
from gateway_agent.uplink.units import converted
from protocols.export_record import ExportPoint, Portion, SentMessage
from protocols.uplink.sl651 import (
    ELEMENTS,
    FRAME_BYTES,
    ElementGroup,
    Observation,
    StationReport,
    StationSettings,
    number_group,
    write_report,
)
from protocols.wire.errors import LocalError

from .config import Sl651Uplink, StationElement, StationOfDevice, datum
from .connection import StationConnection
from .periods import DueReport, Periods

TIMED_REPORT: Final = 0x32
_logger: Final = logging.getLogger(__name__)
_SERIAL_AND_TIME: Final = 8
_LAST_SERIAL: Final = 0xFFFF
_WAIT_S: Final = 1.0


class Sl651Exporter:
    """Reports of each configured device the last sample of each period, and awaits the centre."""

    def __init__(self, config: Sl651Uplink, context: ExportContext) -> None:
        self._config = config
        self._clock = context.clock
        self._stations = {station.device: station for station in config.station}
        self._lines: dict[str, StationConnection] = {}
        self._rare = RareLog(_logger)

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
        periods = Periods(frozenset(self._stations), self._config.report_min * 60_000)
        last: Portion | None = None
        while True:
            raise_if_cancelled()
            portion = await feed.next(_WAIT_S)
            if portion is not None:
                if last is not None and portion.stream != last.stream:
                    for due in periods.close_all():
                        await self._report(feed, due)
                last = portion
                for due in periods.take(portion.records):
                    sent = await self._report(feed, due)
                    await feed.delivered(portion, due.passes_to, [sent])
                await feed.delivered(portion, periods.done_to(portion.last))
            elif last is not None and (now_ms := self._clock.wall().wall_ms) is not None:
                for due in periods.close_until(now_ms):
                    sent = await self._report(feed, due)
                    await feed.delivered(last, periods.done_to(last.last), [sent])
            for line in self._lines.values():
                line.tick()

    async def _report(self, feed: Feed, due: DueReport) -> SentMessage:
        station = self._stations[due.device]
        address = bytes.fromhex(station.address)
        at = datetime.fromtimestamp(due.ended_ms / 1000, UTC)
        seen = Observation(at, self._groups(station, due))
        report = StationReport(0, at, address, station.station_class, (seen,))
        line = self._lines.get(due.device)
        if line is None:
            line = await self._connect(feed, address)
            self._lines[due.device] = line
            feed.status.connected = True
        body = write_report(report)[_SERIAL_AND_TIME:]
        await feed.spend(FRAME_BYTES + _SERIAL_AND_TIME + len(body), 1)
        # From the record, so that a report that is sent again has the number that it had.
        serial = due.sample.seq % _LAST_SERIAL + 1
        await line.report(TIMED_REPORT, body, serial)
        ack = "confirmed" if self._config.confirmed else "sent (M1)"
        message = f"{station.address.upper()} {serial}"
        return SentMessage(message, (due.sample.seq,), ack, f"32 of {at:%Y-%m-%dT%H:%MZ}")

    async def _connect(self, feed: Feed, address: bytes) -> StationConnection:
        config = self._config

        def refuse(text: str) -> None:
            feed.status.rejected += 1
            self._rare.warning(f"uplink {config.label}: {text}")

        settings = StationSettings(
            config.centre,
            address,
            bytes.fromhex(config.password),
            config.confirmed,
            config.answer_ms,
            config.keep_alive_ms,
        )
        return await StationConnection.open(
            config.host, config.port, settings, self._clock.boot_ms, self._now, refuse
        )

    def _now(self) -> datetime:
        """Return the time that a frame is sent at; without a clock it is 2000."""
        wall_ms = self._clock.wall().wall_ms
        return datetime.fromtimestamp((wall_ms or 946_684_800_000) / 1000, UTC)

    def _groups(self, station: StationOfDevice, due: DueReport) -> tuple[ElementGroup, ...]:
        points = {point.name: point for point in due.sample.points}
        return tuple(self._group(element, points.get(element.point)) for element in station.element)

    def _group(self, element: StationElement, point: ExportPoint | None) -> ElementGroup:
        """Return the group of an element; a value that is missing, bad or too large is missing."""
        identifier = element.identifier
        if point is None or point.value is None:
            return number_group(identifier, None)
        unit = ELEMENTS[identifier].unit
        try:
            value = converted(Decimal(str(point.value)), point.unit or element.unit or unit, unit)
            height = datum(element)
            return number_group(identifier, value if height is None else height - value)
        except (LocalError, ValueError) as error:
            self._rare.warning(f"uplink {self._config.label}: {point.name} is left out: {error}")
            return number_group(identifier, None)
