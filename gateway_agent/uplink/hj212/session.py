"""One connection to a platform of HJ 212: what is due goes out, what came is dealt with.

The periods are on the medium before the place in the outbox moves, and it moves only past records
of which the platform has acknowledged the shortest periods. The request numbers of a period are on
the medium before it is sent: after a crash it is sent under the same ones, and the platform, which
knows them, counts it once. Real-time values are sent while the records are new; after an outage the
periods say what was measured.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final, NoReturn

from gateway_agent.cancellation import raise_if_cancelled, until_first_ends, whatever_comes
from gateway_agent.rare_log import RareLog
from gateway_agent.uplink.command_audit import CommandAudit
from gateway_agent.uplink.feed import ExportContext, Feed
from gateway_agent.uplink.gap_book import UNWRITABLE
from protocols.export_record import Portion, SentMessage
from protocols.text_of_others import printable
from protocols.uplink.hj212 import (
    HOUR_MS,
    FrameRefused,
    Hj212Event,
    Hj212Upload,
    LinkGivenUp,
    Moment,
    ParameterWanted,
    PlatformCommand,
    PlatformRefused,
    SettingsChanged,
    UploadDone,
    data_time,
)

from .period import AggregatePeriod
from .period_store import PeriodUpload, settings_text
from .site import RealTime
from .work import Hj212Work

log = logging.getLogger(__name__)

_LOOK_S: Final = 0.2  # between two looks for records while the line is silent
_CONNECT_S: Final = 10.0
_READ_BYTES: Final = 65_536
_BACKFILL_MS: Final = 600_000  # a period that is sent so long after its end is back-fill
_REFUSED_MS: Final = 600_000  # after which a kind of data that was refused is offered again
_LIVE_MS: Final = 120_000  # real-time values are sent while records are newer than that
_MOVE_MS: Final = 5000  # between two moves of the place while a backlog is sent
_AGE_MS: Final = 10_000  # between two looks for what is too old
_QUEUE_LOW: Final = 32


class Hj212Session:
    """One connection."""

    def __init__(
        self,
        work: Hj212Work,
        feed: Feed,
        context: ExportContext,
        refused: RareLog,
        audit: CommandAudit,
    ) -> None:
        self._work = work
        self._feed = feed
        self._context = context
        self._refused = refused
        self._audit = audit
        self._portion: Portion | None = None
        self._newest_ms = 0  # time of the newest record that was read
        self._sent: list[SentMessage] = []
        self._kinds_refused: dict[str, int] = {}  # until when none of them is offered, boot time
        self._unwritable: list[AggregatePeriod] = []  # named, and not in the trace yet
        self._at_desk: set[str] = set()  # QN of parameters that a node is set for
        self._wanted: asyncio.Queue[ParameterWanted] = asyncio.Queue()  # the device bounds them
        self._move_ms = 0  # when the place may move next
        self._is_behind = True  # it may have to
        self._age_ms = 0  # when to look for what is too old
        self._is_changed = True  # what an earlier session could not keep

    def _now(self) -> Moment:
        wall_ms = self._context.clock.wall().wall_ms
        if wall_ms is None:
            raise OSError("the clock is not known any more: request numbers need one")
        return Moment(self._context.clock.boot_ms(), wall_ms)

    async def run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Work until the connection ends."""
        await until_first_ends(self._talk(reader, writer), self._obey())

    async def _obey(self) -> NoReturn:
        """Let nodes be set as the platform wants it, one after the other."""
        while True:
            raise_if_cancelled()
            wanted = await self._wanted.get()
            command = self._work.site.command(wanted.pol_id, wanted.info_id, wanted.value)
            assert command is not None  # the site had it when the device asked
            result = await self._context.command(command, self._audit.by)
            now = self._now()
            self._events(self._work.device.executed(wanted, result.outcome, result.text, now))

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> NoReturn:
        device = self._work.device
        self._events(device.connect(self._now()))
        self._feed.status.connected = True
        while True:
            raise_if_cancelled()
            portion = await self._feed.next(0)
            if portion is not None:
                self._take(portion)
            until_ms = self._read_until()
            more = self._close_periods(until_ms)
            self._upload(is_live=self._now().unix_ms - until_ms < _LIVE_MS)
            await self._keep()
            await self._audit.durable()  # before the platform is answered
            await self._write(writer)
            is_busy = more or (portion is not None and not portion.is_newest)
            await self._read(reader, 0 if is_busy and device.can_upload else _LOOK_S)
            self._events(device.tick(self._now()))

    def _read_until(self) -> int:
        """Return up to when everything recorded is in the periods; 0 if that is not known."""
        stream, to = self._work.mark()
        feed = self._feed
        is_read = stream in (0, feed.stream) and feed.delivered_to + feed.behind <= to
        if is_read or not feed.behind:  # what was given up in the outbox is never read
            return self._now().unix_ms
        return self._newest_ms

    def _take(self, portion: Portion) -> None:
        """Count the records that the periods do not hold yet."""
        work = self._work
        stream, to = work.mark()
        if stream != portion.stream:
            to = 0
        for record in portion.records:
            if record.seq <= to or work.held.has(portion.stream, record):
                continue
            readings = list(work.intake.readings(portion.stream, record))
            if readings:
                work.held.count(portion.stream, record)
            work.learn()
            for reading in readings:
                work.aggregates.add(reading)
                newest = work.site.newest.get(reading.code)
                if newest is None or newest.unix_ms <= reading.unix_ms:
                    work.site.newest[reading.code] = reading
        if portion.records:
            self._newest_ms = min(portion.records[-1].wall_ms, self._now().unix_ms)
        if portion.last > to:
            work.state["stream"], work.state["seq"] = str(portion.stream), str(portion.last)
        self._portion = portion._replace(records=())  # they are counted: only its place is needed
        self._is_changed = True

    def _close_periods(self, until_ms: int) -> bool:
        aggregates = self._work.aggregates
        if aggregates.undo_ahead(self._now().unix_ms):
            name = self._feed.status.name
            log.warning("uplink %s: the clock was ahead; empty periods to come are dropped", name)
            self._is_changed = True
        more = aggregates.close(until_ms - self._work.late_ms)
        self._is_changed = self._is_changed or bool(aggregates.changed)
        return more

    def _upload(self, *, is_live: bool) -> None:
        work, now = self._work, self._now()
        settings = work.device.settings
        for cn, is_on in (("2011", settings.realtime_on), ("2021", settings.status_on)):
            if is_live and is_on and cn in work.profile.sends and cn not in self._kinds_refused:
                self._upload_real_time(cn, now, settings.rtd_interval_s * 1000)
        if work.device.pending > _QUEUE_LOW:
            return  # to look through all periods has a price
        flying = {
            (of.period.cn, of.period.start_ms): of.revision
            for of in work.uploads.values()
            if isinstance(of, PeriodUpload)
        }
        self._kinds_refused = {
            cn: until for cn, until in self._kinds_refused.items() if now.boot_ms < until
        }
        for period in work.aggregates.unsent(besides=self._kinds_refused):
            if not work.device.can_upload:
                break
            if flying.get((period.cn, period.start_ms)) == period.revision:
                continue
            is_backfill = period.revision > 0 or now.unix_ms - period.end_ms > _BACKFILL_MS
            try:
                body = work.site.period_body(period)
            except ValueError as error:  # one that cannot be written must not stop the others
                self._refused.warning(f"uplink {self._feed.status.name}: {error}")
                work.never_sent(period, UNWRITABLE)
                self._unwritable.append(period)
                self._is_changed = True
                continue
            upload = PeriodUpload(period, period.revision, body, is_backfill)
            self._send(period.cn, upload, now, is_backfill=is_backfill)

    def _upload_real_time(self, cn: str, now: Moment, interval_ms: int) -> None:
        work = self._work
        if now.boot_ms < work.next_real_time_ms.get(cn, 0) or not work.device.can_upload:
            return
        found = work.site.real_time(cn)
        if found is None or any(
            isinstance(of, RealTime) and of.cn == cn for of in work.uploads.values()
        ):
            return
        work.next_real_time_ms[cn] = now.boot_ms + interval_ms
        self._send(cn, found, now)

    def _send(
        self,
        cn: str,
        of: PeriodUpload | RealTime,
        now: Moment,
        *,
        is_backfill: bool = False,
    ) -> None:
        upload = Hj212Upload(self._work.new_key(of), cn, of.body, is_backfill)
        self._events(self._work.device.upload(upload, now))

    def _events(self, events: Sequence[Hj212Event]) -> None:
        status, given_up = self._feed.status, ""
        for event in events:
            if isinstance(event, UploadDone):
                self._done(event)
            elif isinstance(event, LinkGivenUp):
                given_up = event.reason
            elif isinstance(event, PlatformRefused):
                text = f"CN={event.cn} was refused by {event.reason}"
                if event.is_of_kind:
                    self._put_off(event, text)
                elif event.is_final:
                    given_up = f"{text}: compare mn, pw, st and profile with the platform's"
                else:
                    self._refused.warning(f"uplink {status.name}: {text}")
            elif isinstance(event, FrameRefused):
                status.rejected += 1
                self._refused.warning(f"uplink {status.name}: {event.error}")
                if event.is_too_much:
                    given_up = f"the platform sends what is no frame: {event.error}"
            elif isinstance(event, SettingsChanged):
                self._work.state["settings"] = settings_text(event.settings)
                self._work.set_minutes(event.settings.min_interval_min, self._now().unix_ms)
                self._is_changed = True
            elif isinstance(event, ParameterWanted):
                self._wanted.put_nowait(event)
                self._at_desk.add(event.qn)
            elif isinstance(event, PlatformCommand):
                self._commanded(event)
        if given_up:
            raise OSError(given_up)

    def _put_off(self, event: PlatformRefused, text: str) -> None:
        """Keep periods of a kind that the platform does not take, and go on with the others."""
        key = self._work.device.drop(event)
        if key is not None:
            self._work.uploads.pop(key, None)
        self._kinds_refused[event.cn] = self._now().boot_ms + _REFUSED_MS
        self._refused.warning(
            f"uplink {self._feed.status.name}: {text}: it is offered again in"
            f" {_REFUSED_MS // 60_000} minutes; if the platform never takes it, take it out of"
            " `sends` in the profile"
        )

    def _commanded(self, event: PlatformCommand) -> None:
        """Log what was asked; what would change something goes into the stream."""
        text = f"CN={event.cn} QN={event.qn[:40]}: QnRtn={event.qn_return}"
        if event.exe_return is not None:
            text += f" ExeRtn={event.exe_return}"
        text += f" {event.detail[:200]}"
        log.info("platform %s asked %s", self._feed.status.name, printable(text))
        if event.qn in self._at_desk and event.cn == "3021":
            self._at_desk.remove(event.qn)  # the desk has recorded it, at the node
        elif event.changes:
            self._audit.record(event.outcome, text)

    def _done(self, event: UploadDone) -> None:
        of = self._work.uploads.pop(event.key, None)
        if of is None:
            return
        ack = "9014" if event.is_acknowledged else "sent"
        if isinstance(of, RealTime):
            stream, seqs = of.stream, of.seqs
        else:
            period = of.period
            period.sent = max(period.sent, of.revision)
            self._work.aggregates.changed.add((period.cn, period.start_ms))
            self._is_changed = True
            stream = self._work.mark()[0]
            seqs = tuple(period.seqs(stream))
        if stream == self._work.mark()[0]:
            self._sent += [SentMessage(qn, seqs, ack, f"CN={event.cn}") for qn in event.qns]

    async def _keep(self) -> None:
        """Put what changed onto the medium, then move the place in the outbox."""
        work, feed, portion, now = self._work, self._feed, self._portion, self._now()
        if self._is_changed or work.device.has_numbers:
            if now.boot_ms >= self._age_ms:
                self._age_ms = now.boot_ms + _AGE_MS
                await self._give_up(now.unix_ms)
            await whatever_comes(asyncio.to_thread(work.commit, now.unix_ms))
            feed.status.gaps = work.gaps.gaps
            self._is_changed = False
            self._is_behind = True
        if portion is None:
            return
        to = feed.delivered_to
        if self._is_behind and (now.boot_ms >= self._move_ms or not work.uploads):
            to = max(to, work.handled_to(portion.stream))
            self._move_ms, self._is_behind = now.boot_ms + _MOVE_MS, False
        sent, self._sent = self._sent, []
        if to > feed.delivered_to or sent:
            await feed.delivered(portion, to, sent)

    async def _give_up(self, wall_ms: int) -> None:
        """Name what is too old by now, and log which records stand behind it."""
        feed = self._feed
        unwritable, self._unwritable = self._unwritable, []
        await self._trace_given_up(unwritable, "cannot be written")
        old = self._work.give_up(wall_ms, (feed.stream, feed.delivered_to))
        await self._trace_given_up(old, "too old")

    async def _trace_given_up(self, several: Sequence[AggregatePeriod], why: str) -> None:
        together: dict[tuple[int, str, int], list[AggregatePeriod]] = {}
        for period in several:
            for stream in {at for at, _, _ in period.ranges}:
                of = stream, period.cn, period.start_ms // HOUR_MS
                together.setdefault(of, []).append(period)
        for (stream, cn, _), periods in together.items():
            first, last = data_time(periods[0].start_ms), data_time(periods[-1].start_ms)
            seqs = tuple(seq for period in periods for seq in period.seqs(stream))
            text = f"{len(periods)} of CN={cn} to {last}, {why}"
            await self._feed.trace(stream, [SentMessage(f"{cn} {first}", seqs, "given up", text)])

    async def _write(self, writer: asyncio.StreamWriter) -> None:
        device = self._work.device
        while data := device.outgoing(self._now()):
            await self._feed.spend(len(data))
            writer.write(data)
            async with asyncio.timeout(_CONNECT_S):
                await writer.drain()
            await self._keep()

    async def _read(self, reader: asyncio.StreamReader, wait_s: float) -> None:
        """Take what the platform sends within that time."""
        try:
            async with asyncio.timeout(wait_s):
                data = await reader.read(_READ_BYTES)
        except TimeoutError:
            return
        if not data:
            raise OSError("the platform has closed the connection")
        self._events(self._work.device.receive(data, self._now()))
