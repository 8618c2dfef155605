"""The exporter to a centre of SL 427: of each station the last sample of each period.

The engine is that of SL 651: the same periods, the same connection. A report is one frame for each
quantity; its time is the end of the period, so that what comes after an outage is not dated wrong.
"""

import logging
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, NoReturn

from gateway_agent.cancellation import raise_if_cancelled
from gateway_agent.rare_log import RareLog
from gateway_agent.uplink.command_audit import CommandAudit
from gateway_agent.uplink.feed import ExportContext, Feed
from gateway_agent.uplink.sl651.connection import StationConnection
from gateway_agent.uplink.sl651.periods import DueReport, Periods
from gateway_agent.uplink.units import converted
from protocols.export_record import ExportRecord, Portion, SentMessage
from protocols.uplink.sl427 import (
    NOW,
    SETTING,
    Alarms,
    Sl427Settings,
    Sl427Station,
    address_of,
    now_data,
    report_data,
    state_bits,
    write_number,
)
from protocols.uplink.sl651 import Asked
from protocols.wire.errors import LocalError

from .config import QuantityOfPoint, Sl427Device, Sl427Uplink

_logger: Final = logging.getLogger(__name__)
_FRAME_BYTES: Final = 12
_WAIT_S: Final = 0.5
_FAULTS: Final = {"level": Alarms.LEVEL_METER, "flow": Alarms.FLOW_METER}


class Sl427Exporter:
    """Reports of each configured device the last sample of each period, and awaits the centre."""

    def __init__(self, config: Sl427Uplink, context: ExportContext) -> None:
        self._config = config
        self._clock = context.clock
        self._stations = {station.device: station for station in config.station}
        self._newest: dict[str, ExportRecord] = {}
        self._lines: dict[str, StationConnection] = {}
        self._rare = RareLog(_logger)
        self._audit = CommandAudit(f"sl427: {config.label}", context)

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
                for record in portion.records:
                    if record.is_data and record.name in self._stations:
                        self._newest[record.name] = record
                for due in periods.take(portion.records):
                    sent = await self._report(feed, due)
                    await feed.delivered(portion, due.passes_to, [sent])
                await feed.delivered(portion, periods.done_to(portion.last))
                feed.settled_to = portion.last
            now_ms = self._clock.wall().wall_ms
            is_all_read = portion is None or portion.is_newest
            if last is not None and is_all_read and now_ms is not None:
                for due in periods.close_until(now_ms):
                    sent = await self._report(feed, due)
                    await feed.delivered(last, periods.done_to(last.last), [sent])
            for device in self._stations:
                (await self._line(feed, device)).tick()

    async def _report(self, feed: Feed, due: DueReport) -> SentMessage:
        station = self._stations[due.device]
        at = datetime.fromtimestamp(due.ended_ms / 1000, UTC)
        values = {one.quantity: self._value(one, due.sample) for one in station.report}
        alarms = Alarms.PUMP_STOPPED
        for name, value in values.items():
            alarms |= _FAULTS.get(name, Alarms(0)) if value is None else Alarms(0)
        state = state_bits(self._config.confirmed)
        for one in station.report:
            value, time_bytes = values[one.quantity], self._config.time_bytes
            data = report_data(one.of_table, value, alarms, state, at, time_bytes)
            await feed.spend(_FRAME_BYTES + len(data), 1)
            line = await self._line(feed, due.device)
            await line.report(one.of_table.kind, data, due.sample.seq)
            if line.is_spent:
                line.close()
                del self._lines[due.device]
        ack = "confirmed" if self._config.confirmed else "sent"
        message = f"{station.county} {station.number} {at:%Y-%m-%dT%H:%MZ}"
        return SentMessage(message, (due.sample.seq,), ack, f"C0 of {at:%Y-%m-%dT%H:%MZ}")

    async def _line(self, feed: Feed, device: str) -> StationConnection:
        line = self._lines.get(device)
        if line is None:
            line = await self._connect(feed, self._stations[device])
            self._lines[device] = line
            feed.status.connected = True
        return line

    async def _connect(self, feed: Feed, station: Sl427Device) -> StationConnection:
        config = self._config

        def refuse(text: str) -> None:
            feed.status.rejected += 1
            self._leave_out(text)

        settings = Sl427Settings(
            address_of(station.county, station.number),
            config.confirmed,
            config.answer_ms,
            config.keep_alive_ms,
        )
        machine = Sl427Station(settings, self._clock.boot_ms())
        return await StationConnection.open(
            config.host,
            config.port,
            machine,
            self._clock.boot_ms,
            lambda: datetime.fromtimestamp(0, UTC),  # nothing but a report has a time
            lambda asked: self._answer(station, asked),
            refuse,
        )

    def _answer(self, station: Sl427Device, asked: Asked) -> bytes | None:
        """Return what is measured now; None: there is no answer (from implementations)."""
        if asked.function in SETTING:
            text = f"function {asked.function:02X} of station {station.county} {station.number}"
            self._audit.record("refused", f"{text}: a station of a gateway has none of it")
            return None
        newest = self._newest.get(station.device)
        kinds = {one.of_table.kind: one for one in station.report}
        if asked.function != NOW or newest is None or asked.serial not in kinds:
            return None
        one = kinds[asked.serial]
        return now_data(one.of_table, self._value(one, newest))

    def _value(self, one: QuantityOfPoint, sample: ExportRecord) -> Decimal | None:
        """Return the value of a quantity; None for what is missing, bad or too large."""
        point = next((point for point in sample.points if point.name == one.point), None)
        if point is None or point.value is None:
            return None
        quantity = one.of_table
        try:
            unit = point.unit or one.unit or quantity.unit
            value = converted(Decimal(str(point.value)), unit, quantity.unit)
            value = value if one.datum is None else one.datum - value
            write_number(quantity, value)
        except (LocalError, ValueError) as error:
            self._leave_out(f"{point.name} is left out: {error}")
            return None
        return value

    def _leave_out(self, text: str) -> None:
        self._rare.warning(f"uplink {self._config.label}: {text}")
