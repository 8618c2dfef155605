"""The exporter to a centre of SL 427, on the engine that SL 651 has too.

A report is one frame for each quantity; its time is the end of the period, so that what comes after
an outage is not dated wrong.
"""

from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Final

from gateway_agent.uplink.feed import ExportContext, Feed
from gateway_agent.uplink.station_exporter import StationExporter
from gateway_agent.uplink.station_periods import DueReport
from protocols.export_record import ExportRecord, SentMessage
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
from protocols.uplink.station import Asked

from .config import QuantityOfPoint, Sl427Uplink

_FAULTS: Final = {"level": Alarms.LEVEL_METER, "flow": Alarms.FLOW_METER}


class Sl427Exporter(StationExporter):
    """Reports of each configured device the last sample of each period, and awaits the centre."""

    _frame_bytes = 12
    _says_when = False

    def __init__(self, config: Sl427Uplink, context: ExportContext) -> None:
        self._config = config
        self._stations = {station.device: station for station in config.station}
        points = {one.device: {each.point for each in one.report} for one in config.station}
        super().__init__(config, points, context)

    async def _report(self, feed: Feed, due: DueReport) -> SentMessage:
        station, sample = self._stations[due.device], due.sample.record
        at = datetime.fromtimestamp(due.ended_ms / 1000, UTC)
        values = {one.quantity: self._value(one, sample) for one in station.report}
        alarms = Alarms.PUMP_STOPPED
        for name, value in values.items():
            alarms |= _FAULTS.get(name, Alarms(0)) if value is None else Alarms(0)
        state = state_bits(self._config.confirmed)
        for one in station.report:
            value, time_bytes = values[one.quantity], self._config.time_bytes
            data = report_data(one.of_table, value, alarms, state, at, time_bytes)
            await self._send(feed, due.device, one.of_table.kind, data, sample.seq)
        ack = "confirmed" if self._config.confirmed else "sent"
        message = f"{station.county} {station.number} {at:%Y-%m-%dT%H:%MZ}"
        return SentMessage(message, due.sample.seqs, ack, f"C0 of {at:%Y-%m-%dT%H:%MZ}")

    def _station_of(self, device: str) -> Sl427Station:
        config, station = self._config, self._stations[device]
        settings = Sl427Settings(
            is_confirmed=config.confirmed,
            answer_ms=config.answer_ms,
            keep_alive_ms=config.keep_alive_ms,
            address=address_of(station.county, station.number),
        )
        return Sl427Station(settings, self._clock.boot_ms())

    def _answer(self, device: str, asked: Asked) -> bytes | None:
        """Return what is measured now; None: there is no answer (from implementations)."""
        station = self._stations[device]
        if asked.function in SETTING:
            text = f"function {asked.function:02X} of station {station.county} {station.number}"
            self._audit.record("refused", f"{text}: a station of a gateway has none of it")
            return None
        newest = self._newest.get(device)
        kinds = {one.of_table.kind: one for one in station.report}
        if asked.function != NOW or newest is None or asked.serial not in kinds:
            return None
        one = kinds[asked.serial]
        return now_data(one.of_table, self._value(one, newest))

    def _value(self, one: QuantityOfPoint, sample: ExportRecord) -> Decimal | None:
        quantity = one.of_table
        return one.value(sample, quantity.unit, partial(write_number, quantity), self._leave_out)
