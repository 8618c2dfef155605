"""The exporter to a centre station of SL 651: of each station the last sample of each period."""

import asyncio
import logging
from datetime import UTC, datetime
from functools import partial
from typing import Final, NoReturn

from gateway_agent.cancellation import raise_if_cancelled, until_first_ends, whatever_comes
from gateway_agent.commands.command import Command
from gateway_agent.rare_log import RareLog
from gateway_agent.status import GapStatus
from gateway_agent.uplink.command_audit import CommandAudit
from gateway_agent.uplink.feed import ExportContext, Feed
from gateway_agent.uplink.gap_book import INCOMPLETE
from protocols.export_record import ExportRecord, Portion, SentMessage
from protocols.uplink.sl651 import (
    FRAME_BYTES,
    Asked,
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

from .answers import StationAnswers
from .config import Sl651Uplink, StationOfDevice
from .connection import StationConnection
from .events import EVENT_REPORT, StationEvents
from .groups import StationGroups
from .history import ReportHistory
from .hourly import HOUR_MS, HOURLY, hour_of, hours_due
from .periods import DueReport, Periods
from .pictures import Pictures, WholePicture

TIMED_REPORT: Final = 0x32
_logger: Final = logging.getLogger(__name__)
_SERIAL_AND_TIME: Final = 8
_LAST_SERIAL: Final = 0xFFFF
_WAIT_S: Final = 0.5
_MOST_WANTED: Final = 4  # settings that wait for their turn


class Sl651Exporter:
    """Reports of each configured device the last sample of each period, and awaits the centre."""

    def __init__(self, config: Sl651Uplink, context: ExportContext) -> None:
        self._config = config
        self._context = context
        self._clock = context.clock
        self._stations = {station.device: station for station in config.station}
        self._lines: dict[str, StationConnection] = {}
        self._rare = RareLog(_logger)
        self._audit = CommandAudit(f"sl651: {config.label}", context)
        self._groups = {
            name: StationGroups(station, self._leave_out)
            for name, station in self._stations.items()
        }
        self._wanted: asyncio.Queue[tuple[str, Asked, int]] = asyncio.Queue(_MOST_WANTED)
        self._history: ReportHistory | None = None
        self._answers: dict[str, StationAnswers] = {}
        self._events = StationEvents(config.station, config.report_min * 60_000)

    async def run(self, feed: Feed) -> NoReturn:
        """Export until something ends it. OSError: a connection ended, or nobody confirmed."""
        if self._history is None:
            await whatever_comes(self._open())
        assert self._history is not None
        feed.status.gaps = self._history.gaps.gaps
        self._wanted = asyncio.Queue(_MOST_WANTED)  # an answer belongs to its connection
        try:
            await until_first_ends(self._export(feed, self._history), self._obey())
        finally:
            for line in self._lines.values():
                line.close()
            self._lines.clear()
            feed.status.connected = False
        raise OSError("the session has ended")

    async def _open(self) -> None:
        path = self._context.state_dir / f"sl651-{self._config.label}.db"
        history = self._history = await asyncio.to_thread(ReportHistory, path)
        self._answers = {
            name: self._answers_of(station, history) for name, station in self._stations.items()
        }

    def close(self) -> None:
        """Close the file of what was reported."""
        if self._history is not None:
            self._history.close()
            self._history = None

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
            partial(self._want, station.device),
        )

    async def _export(self, feed: Feed, history: ReportHistory) -> NoReturn:
        periods = Periods(frozenset(self._stations), self._config.report_min * 60_000)
        pictures = Pictures(frozenset(one.device for one in self._config.station if one.pictures))
        last: Portion | None = None
        while True:
            raise_if_cancelled()
            portion = await feed.next(_WAIT_S)
            if portion is not None:
                if last is not None and portion.stream != last.stream:
                    for due in periods.close_all():
                        await self._report(feed, history, due)
                last = portion
                for record in portion.records:
                    if record.is_data and record.name in self._answers:
                        self._answers[record.name].newest = record
                sent_pictures = await self._send_pictures(feed, history, pictures, portion)
                sent_events = await self._send_events(feed, portion)
                for due in periods.take(portion.records):
                    to = pictures.done_to(due.passes_to)
                    await self._deliver(feed, history, due, portion, to)
                done_to = pictures.done_to(periods.done_to(portion.last))
                await feed.delivered(portion, done_to, sent_pictures + sent_events)
                feed.settled_to = pictures.done_to(portion.last)
            is_all_read = portion is None or portion.is_newest
            now_ms = self._clock.wall().wall_ms
            if last is not None and is_all_read and now_ms is not None:
                pictures.give_up_before(now_ms)
                await self._name_given_up(feed, history, pictures, last.stream)
                for due in periods.close_until(now_ms):
                    to = pictures.done_to(periods.done_to(last.last))
                    await self._deliver(feed, history, due, last, to)
            # A centre asks before there is anything to report; a frame needs the time.
            if now_ms is not None:
                for device in self._stations:
                    await self._line(feed, device)
            for line in self._lines.values():
                line.tick()

    async def _deliver(
        self, feed: Feed, history: ReportHistory, due: DueReport, portion: Portion, to: int
    ) -> None:
        """Report a period, and the hours that it completes."""
        sent = await self._report(feed, history, due)
        await feed.delivered(portion, to, [sent])
        if self._stations[due.device].hourly:
            hours = await self._report_hours(feed, history, due)
            await feed.delivered(portion, to, hours)

    async def _report_hours(
        self, feed: Feed, history: ReportHistory, due: DueReport
    ) -> list[SentMessage]:
        station, sent = self._stations[due.device], []
        address = station.address.upper()
        codes = self._groups[due.device].identifiers
        ends = asyncio.to_thread(hours_due, history, address, due.ended_ms)
        for end_ms in await whatever_comes(ends):
            hour = asyncio.to_thread(hour_of, history, address, codes, end_ms)
            seen = await whatever_comes(hour)
            if seen:
                at = datetime.fromtimestamp(end_ms / 1000, UTC)
                report = StationReport(0, at, bytes.fromhex(address), station.station_class, seen)
                body = write_report(report)[_SERIAL_AND_TIME:]
                await feed.spend(FRAME_BYTES + len(body), 1)
                serial = end_ms // HOUR_MS % _LAST_SERIAL + 1
                await (await self._line(feed, due.device)).report(HOURLY, body, serial)
                message, text = f"{address} {serial}", f"34 of {at:%Y-%m-%dT%H:%MZ}"
                sent.append(SentMessage(message, (due.sample.seq,), self._ack, text))
            await whatever_comes(asyncio.to_thread(history.add_hour, address, end_ms))
        return sent

    async def _report(self, feed: Feed, history: ReportHistory, due: DueReport) -> SentMessage:
        address, values = (
            self._stations[due.device].address.upper(),
            self._groups[due.device].values,
        )
        await whatever_comes(
            asyncio.to_thread(history.add, address, due.ended_ms, values(due.sample))
        )
        # From the record, so that a report that is sent again has the number that it had.
        serial = due.sample.seq % _LAST_SERIAL + 1
        return await self._send(feed, TIMED_REPORT, due.sample, due.ended_ms, serial)

    async def _send_events(self, feed: Feed, portion: Portion) -> list[SentMessage]:
        """Report at once what has changed by its step (function 33)."""
        sent = []
        for record in portion.records:
            if not self._events.watches(record, portion.stream):
                continue
            values = self._groups[record.name].values(record)
            is_event = self._events.is_event(record, values, self._clock.wall().wall_ms)
            if is_event:  # with a number far from that of the period's report
                serial = (record.seq + _LAST_SERIAL // 2) % _LAST_SERIAL + 1
                sent.append(await self._send(feed, EVENT_REPORT, record, record.wall_ms, serial))
            self._events.pass_by(record, portion.stream, values, is_event)
        return sent

    async def _send(
        self, feed: Feed, function: int, sample: ExportRecord, wall_ms: int, serial: int
    ) -> SentMessage:
        """Report one sample. OSError: it was not confirmed."""
        station = self._stations[sample.name]
        at = datetime.fromtimestamp(wall_ms / 1000, UTC)
        seen = Observation(at, self._groups[sample.name].groups(sample))
        address = bytes.fromhex(station.address)
        report = StationReport(0, at, address, station.station_class, (seen,))
        line = await self._line(feed, sample.name)
        body = write_report(report)[_SERIAL_AND_TIME:]
        await feed.spend(FRAME_BYTES + _SERIAL_AND_TIME + len(body), 1)
        counts = self._answers[sample.name].counts
        try:
            await line.report(function, body, serial)
        except OSError:
            counts[StationCount.NOT_SENT] += 1
            raise
        counts[StationCount.SENT] += 1
        message, text = (
            f"{station.address.upper()} {serial}",
            f"{function:02X} of {at:%Y-%m-%dT%H:%MZ}",
        )
        return SentMessage(message, (sample.seq,), self._ack, text)

    async def _send_pictures(
        self, feed: Feed, history: ReportHistory, pictures: Pictures, portion: Portion
    ) -> list[SentMessage]:
        """Report the pictures that a portion completes (function 36)."""
        sent = []
        for record in portion.records:
            picture = pictures.take(record)
            if picture is None:
                continue
            key = self._stations[picture.device].address.upper(), portion.stream, record.seq
            self._show(picture)
            if not await whatever_comes(asyncio.to_thread(history.has_picture, *key)):
                sent.append(await self._send_picture(feed, picture))
                await whatever_comes(asyncio.to_thread(history.add_picture, *key))
        if portion.records:
            pictures.give_up_before(portion.records[-1].wall_ms)
        await self._name_given_up(feed, history, pictures, portion.stream)
        return sent

    async def _name_given_up(
        self, feed: Feed, history: ReportHistory, pictures: Pictures, stream: int
    ) -> None:
        """Name the pictures that lack parts, before the place moves past what there is of them."""
        for one in pictures.take_given_up():
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
        station = self._stations[picture.device]
        at = datetime.fromtimestamp(picture.wall_ms / 1000, UTC)
        address = bytes.fromhex(station.address)
        body = picture_body(address, station.station_class, at, picture.data)
        serial = picture.seqs[-1] % _LAST_SERIAL + 1
        await feed.spend(_SERIAL_AND_TIME + len(body), len(picture.seqs))
        line = await self._line(feed, picture.device)
        await line.report(StationFunction.PICTURE, body, serial)
        message = f"{station.address.upper()} {serial}"
        return SentMessage(message, picture.seqs, self._ack, f"36 of {at:%Y-%m-%dT%H:%MZ}")

    @property
    def _ack(self) -> str:
        return "confirmed" if self._config.confirmed else "sent (M1)"

    async def _line(self, feed: Feed, device: str) -> StationConnection:
        """Return the connection of a station: it is open before there is something to report."""
        line = self._lines.get(device)
        if line is None:
            line = await self._connect(feed, device)
            self._lines[device] = line
            feed.status.connected = True
        return line

    async def _connect(self, feed: Feed, device: str) -> StationConnection:
        config = self._config

        def refuse(text: str) -> None:
            feed.status.rejected += 1
            self._rare.warning(f"uplink {config.label}: {text}")

        settings = StationSettings(
            config.centre,
            bytes.fromhex(self._stations[device].address),
            bytes.fromhex(config.password),
            config.confirmed,
            config.answer_ms,
            config.keep_alive_ms,
        )
        answer = self._answers[device].answer
        station = Station(settings, 1, self._clock.boot_ms())
        return await StationConnection.open(
            config.host, config.port, station, self._clock.boot_ms, self._now, answer, refuse
        )

    def _leave_out(self, text: str) -> None:
        self._rare.warning(f"uplink {self._config.label}: {text}")

    def _now(self) -> datetime:
        """Return the time that a frame is sent at; without a clock it is 2000."""
        wall_ms = self._clock.wall().wall_ms
        return datetime.fromtimestamp((wall_ms or 946_684_800_000) / 1000, UTC)
