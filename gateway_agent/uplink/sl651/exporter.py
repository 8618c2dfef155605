"""The exporter to a centre station of SL 651: reports of periods and hours, events, pictures."""

import asyncio
from datetime import UTC, datetime
from functools import partial
from typing import Final, NoReturn

from gateway_agent.cancellation import raise_if_cancelled, until_first_ends, whatever_comes
from gateway_agent.commands.command import Command
from gateway_agent.status import GapStatus
from gateway_agent.uplink.feed import ExportContext, Feed
from gateway_agent.uplink.gap_book import INCOMPLETE
from gateway_agent.uplink.station_exporter import StationExporter
from gateway_agent.uplink.station_periods import DueReport, Periods, StationSample
from protocols.export_record import Portion, SentMessage
from protocols.uplink.sl651 import (
    FRAME_BYTES,
    Observation,
    Station,
    StationCount,
    StationFunction,
    StationParameter,
    StationReport,
    StationSettings,
    parameter,
    parameters_body,
    picture_body,
    write_report,
)
from protocols.uplink.station import Asked

from .answers import StationAnswers
from .config import Sl651Uplink, StationOfDevice
from .events import EVENT_REPORT, StationEvents
from .groups import StationGroups
from .history import ReportHistory
from .hourly import HOUR_MS, HOURLY, hour_of, hours_due
from .pictures import Pictures, WholePicture

TIMED_REPORT: Final = 0x32
_SERIAL_AND_TIME: Final = 8
_LAST_SERIAL: Final = 0xFFFF
_MOST_WANTED: Final = 4  # settings that wait for their turn


class Sl651Exporter(StationExporter):
    """Reports of each configured device the last sample of each period, and awaits the centre."""

    _frame_bytes = FRAME_BYTES + _SERIAL_AND_TIME
    _says_when = True

    def __init__(self, config: Sl651Uplink, context: ExportContext) -> None:
        self._config = config
        self._context = context
        self._stations = {station.device: station for station in config.station}
        points = {one.device: {each.point for each in one.element} for one in config.station}
        super().__init__(config, points, context)
        self._groups = {
            name: StationGroups(station, self._leave_out)
            for name, station in self._stations.items()
        }
        self._wanted: asyncio.Queue[tuple[str, Asked, int]] = asyncio.Queue(_MOST_WANTED)
        self._files: ReportHistory | None = None
        self._answers: dict[str, StationAnswers] = {}
        self._events = StationEvents(config.station, config.report_min * 60_000)
        self._with_pictures = frozenset(one.device for one in config.station if one.pictures)
        self._pictures = Pictures(self._with_pictures)

    async def run(self, feed: Feed) -> NoReturn:
        """Export until something ends it. OSError: a connection ended, or nobody confirmed."""
        if self._files is None:
            await whatever_comes(self._open())
        feed.status.gaps = self._history.gaps.gaps
        self._wanted = asyncio.Queue(_MOST_WANTED)  # an answer belongs to its connection
        self._pictures = Pictures(self._with_pictures)
        await until_first_ends(super().run(feed), self._obey())
        raise OSError("the session has ended")

    async def _open(self) -> None:
        path = self._context.state_dir / f"sl651-{self._config.label}.db"
        history = self._files = await asyncio.to_thread(ReportHistory, path)
        self._answers = {
            name: self._answers_of(station, history) for name, station in self._stations.items()
        }

    @property
    def _history(self) -> ReportHistory:
        assert self._files is not None, "it runs"
        return self._files

    def close(self) -> None:
        """Close the file of what was reported."""
        if self._files is not None:
            self._files.close()
            self._files = None

    async def _obey(self) -> NoReturn:
        """Let nodes sample as often as the centre wants it, one after the other."""
        while True:
            raise_if_cancelled()
            device, asked, seconds = await self._wanted.get()
            command = Command(
                action="set", device=device, point="sample_period", value=f"{seconds} s"
            )
            result = await self._context.command(command, self._audit.by)
            line = self._lines.get(device)
            if result.outcome == "done" and line is not None:
                address = bytes.fromhex(self._stations[device].address)
                held = parameter(StationParameter.SAMPLING_S, bytes.fromhex(f"{seconds:04}"))
                line.answer(asked, parameters_body(address, (held,)))

    def _want(self, device: str, asked: Asked, seconds: int) -> bool:
        try:
            self._wanted.put_nowait((device, asked, seconds))
        except asyncio.QueueFull:
            return False
        return True

    def _answers_of(self, station: StationOfDevice, history: ReportHistory) -> StationAnswers:
        devices = self._context.devices.values()
        period_ms = next((one.period_ms for one in devices if one.name == station.device), 0)
        return StationAnswers(
            self._config,
            station,
            self._groups[station.device],
            history,
            self._audit,
            period_ms,
            partial(self._newest.get, station.device),
            partial(self._want, station.device),
            self._clock.boot_ms,
        )

    async def _send_at_once(
        self, feed: Feed, portion: Portion, samples: list[StationSample]
    ) -> list[SentMessage]:
        pictures = await self._send_pictures(feed, portion)
        return pictures + await self._send_events(feed, portion.stream, samples)

    async def _close(self, feed: Feed, periods: Periods, last: Portion, now_ms: int) -> None:
        self._pictures.give_up_at(now_ms)
        await self._name_given_up(feed, last.stream)
        await super()._close(feed, periods, last, now_ms)

    def _done_to(self, seen_to: int) -> int:
        return self._pictures.done_to(seen_to)

    async def _deliver(self, feed: Feed, due: DueReport, portion: Portion, to: int) -> None:
        """Report a period, and the hours that it completes."""
        await super()._deliver(feed, due, portion, to)
        if self._stations[due.device].hourly:
            hours = await self._report_hours(feed, due)
            await feed.delivered(portion, self._done_to(to), hours)

    async def _report_hours(self, feed: Feed, due: DueReport) -> list[SentMessage]:
        station, history, sent = self._stations[due.device], self._history, []
        address = station.address.upper()
        codes = self._groups[due.device].identifiers
        ends = asyncio.to_thread(hours_due, history, address, due.ended_ms)
        for end_ms in await whatever_comes(ends):
            hour = asyncio.to_thread(hour_of, history, address, codes, end_ms)
            seen = await whatever_comes(hour)
            if seen:
                body = self._body(station, end_ms, seen)
                serial = end_ms // HOUR_MS % _LAST_SERIAL + 1
                await self._send(feed, due.device, HOURLY, body, serial)
                sent.append(self._sent(station, HOURLY, end_ms, serial, due.sample.seqs))
            await whatever_comes(asyncio.to_thread(history.add_hour, address, end_ms))
        return sent

    async def _report(self, feed: Feed, due: DueReport) -> SentMessage:
        address = self._stations[due.device].address.upper()
        values = self._groups[due.device].values(due.sample.record)
        await whatever_comes(asyncio.to_thread(self._history.add, address, due.ended_ms, values))
        # From the record, so that a report that is sent again has the number that it had.
        serial = due.sample.record.seq % _LAST_SERIAL + 1
        return await self._send_sample(feed, TIMED_REPORT, due.sample, due.ended_ms, serial)

    async def _send_events(
        self, feed: Feed, stream: int, samples: list[StationSample]
    ) -> list[SentMessage]:
        """Report at once what has changed by its step (function 33)."""
        sent = []
        for sample in samples:
            record = sample.record
            if not self._events.watches(record, stream):
                continue
            values = self._groups[record.name].values(record)
            is_event = self._events.is_event(record, values, self._clock.wall().wall_ms)
            if is_event:  # with a number far from that of the period's report
                serial = (record.seq + _LAST_SERIAL // 2) % _LAST_SERIAL + 1
                at_ms = record.wall_ms
                sent.append(await self._send_sample(feed, EVENT_REPORT, sample, at_ms, serial))
            self._events.pass_by(record, stream, values, is_event)
        return sent

    async def _send_sample(
        self, feed: Feed, function: int, sample: StationSample, wall_ms: int, serial: int
    ) -> SentMessage:
        """Report one sample. OSError: it was not confirmed."""
        record, station = sample.record, self._stations[sample.record.name]
        at = datetime.fromtimestamp(wall_ms / 1000, UTC)
        seen = Observation(at, self._groups[record.name].groups(record))
        body = self._body(station, wall_ms, (seen,))
        counts = self._answers[record.name].counts
        await self._line(feed, record.name)  # where there is no line nothing was sent
        try:
            await self._send(feed, record.name, function, body, serial)
        except OSError:
            counts[StationCount.NOT_SENT] += 1
            raise
        counts[StationCount.SENT] += 1
        return self._sent(station, function, wall_ms, serial, sample.seqs)

    @staticmethod
    def _body(station: StationOfDevice, wall_ms: int, seen: tuple[Observation, ...]) -> bytes:
        """Return the body of a report behind serial number and time of sending."""
        at, address = datetime.fromtimestamp(wall_ms / 1000, UTC), bytes.fromhex(station.address)
        report = StationReport(0, at, address, station.station_class, seen)
        return write_report(report)[_SERIAL_AND_TIME:]

    def _sent(
        self,
        station: StationOfDevice,
        function: int,
        wall_ms: int,
        serial: int,
        seqs: tuple[int, ...],
    ) -> SentMessage:
        """Return what the trace says of a message."""
        at = datetime.fromtimestamp(wall_ms / 1000, UTC)
        ack = "confirmed" if self._config.confirmed else "sent (M1)"
        message = f"{station.address.upper()} {serial}"
        return SentMessage(message, seqs, ack, f"{function:02X} of {at:%Y-%m-%dT%H:%MZ}")

    async def _send_pictures(self, feed: Feed, portion: Portion) -> list[SentMessage]:
        """Report the pictures that a portion completes (function 36)."""
        sent, history = [], self._history
        for record in portion.records:
            picture = self._pictures.take(record)
            if picture is None:
                continue
            key = self._stations[picture.device].address.upper(), portion.stream, record.seq
            self._show(picture)
            if not await whatever_comes(asyncio.to_thread(history.has_picture, *key)):
                sent.append(await self._send_picture(feed, picture))
                await whatever_comes(asyncio.to_thread(history.add_picture, *key))
        if portion.records:
            self._pictures.give_up_at(portion.records[-1].wall_ms)
        await self._name_given_up(feed, portion.stream)
        return sent

    async def _name_given_up(self, feed: Feed, stream: int) -> None:
        """Name the pictures that lack parts, before the place moves past what there is of them."""
        history = self._history
        for one in self._pictures.take_given_up():
            address = self._stations[one.device].address.upper()
            at = one.wall_ms
            gap = GapStatus(kind="picture", first_ms=at, last_ms=at, count=1, cause=INCOMPLETE)
            key = address, one.boot_epoch, one.number
            if await whatever_comes(asyncio.to_thread(history.give_up_picture, *key, gap)):
                text = f"picture {one.number} of {one.device} lacks parts"
                self._leave_out(text)
                message = f"{address} picture {one.number}"
                await feed.trace(stream, [SentMessage(message, one.seqs, "given up", text)])
        feed.status.gaps = history.gaps.gaps

    def _show(self, picture: WholePicture) -> None:
        """Let the centre ask for this picture."""
        at = datetime.fromtimestamp(picture.wall_ms / 1000, UTC)
        self._answers[picture.device].picture = (at, picture.data)

    async def _send_picture(self, feed: Feed, picture: WholePicture) -> SentMessage:
        station, function = self._stations[picture.device], StationFunction.PICTURE
        at = datetime.fromtimestamp(picture.wall_ms / 1000, UTC)
        address = bytes.fromhex(station.address)
        body = picture_body(address, station.station_class, at, picture.data)
        serial = picture.seqs[-1] % _LAST_SERIAL + 1
        await self._send(feed, picture.device, function, body, serial, len(picture.seqs))
        return self._sent(station, function, picture.wall_ms, serial, picture.seqs)

    def _station_of(self, device: str) -> Station:
        config = self._config
        settings = StationSettings(
            is_confirmed=config.confirmed,
            answer_ms=config.answer_ms,
            keep_alive_ms=config.keep_alive_ms,
            centre=config.centre,
            station=bytes.fromhex(self._stations[device].address),
            password=bytes.fromhex(config.password),
        )
        return Station(settings, 1, self._clock.boot_ms())

    def _answer(self, device: str, asked: Asked) -> bytes | None:
        return self._answers[device].answer(asked)
