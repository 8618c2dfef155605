"""Tries a platform before a site depends on it: one frame of each kind, and what became of it.

The values are made up, so each carries the flag M, maintenance. What the platform sends and what it
is sent is shown frame by frame; what it did not like, or does unlike the profile, is listed at the
end. Nothing that the platform asks is allowed to change anything.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from gateway_agent.cancellation import raise_if_cancelled
from protocols.uplink.hj212 import (
    COMMANDS,
    DAY_MS,
    HOUR_MS,
    AcceptedFrame,
    Body,
    EmptySite,
    FrameRefused,
    Hj212Device,
    Hj212Event,
    Hj212Message,
    Hj212Options,
    Hj212Reader,
    Hj212Settings,
    Hj212Upload,
    Item,
    LinkGivenUp,
    Moment,
    NoticeUnanswered,
    PlatformCommand,
    PlatformRefused,
    Sm4Text,
    UploadDone,
    data_time,
)

from .codes import CODES, written
from .explain import headline, lines
from .profile import Hj212Profile

_PERIODS: Final = {"2051": 600_000, "2061": HOUR_MS, "2031": DAY_MS, "2041": DAY_MS}
_EQUIPMENT: Final = {"2021": ("SB1-RS", "3"), "2041": ("SB1-RT", "1.1")}  # in maintenance
_CONNECT_S: Final = 10.0
_READ_BYTES: Final = 65_536


class TrialSite(EmptySite):
    """A site with one real-time body, made up."""

    def __init__(self, trial: "Hj212Trial") -> None:
        self._trial = trial

    def latest(self, cn: str) -> Body | None:
        """Return made-up real-time values."""
        return self._trial.body(cn)

    def history(self, cn: str, begin_ms: int, end_ms: int) -> Iterator[Body]:
        """Yield one made-up period at the begin that was asked for."""
        yield self._trial.body(cn, begin_ms)


@dataclass(slots=True)
class TrialOutcome:
    """What came of it: ``good`` and ``disliked`` are sentences."""

    good: list[str]
    disliked: list[str]


class Hj212Trial:
    """One try of one platform; ``show`` gets each line."""

    def __init__(
        self,
        profile: Hj212Profile,
        options: Hj212Options,
        settings: Hj212Settings,
        show: Callable[[str], None],
        now: Callable[[], Moment] = lambda: Moment(
            time.monotonic_ns() // 1_000_000, time.time_ns() // 1_000_000
        ),
    ) -> None:
        self._profile = profile
        self._now = now
        self._show = show
        self._device = Hj212Device(options, settings, TrialSite(self), now().unix_ms)
        cipher = Sm4Text(settings.key) if settings.key else None
        decrypt = cipher.decrypt if cipher else None
        self._sent = Hj212Reader(options.dialect.checksum, decrypt)
        self._came = Hj212Reader(options.dialect.checksum, decrypt)
        self._mn = options.mn
        self._answer_st = options.answer_st or options.st
        self.outcome = TrialOutcome([], [])
        self._asked: dict[str, str] = {}  # QN -> CN of what we sent

    def body(self, cn: str, start_ms: int | None = None) -> Body:
        """Return a body with made-up values of every code that fits the system type."""
        now = self._now().unix_ms
        period = _PERIODS.get(cn, 0)
        if start_ms is None:
            start_ms = now - period
        if period:  # Beijing is whole hours from UTC, but a day there begins at 16:00 UTC
            shift = 8 * HOUR_MS
            start_ms = (start_ms + shift) // period * period - shift
        body: list[Item] = [(("DataTime", data_time(start_ms, self._profile.data_time_digits)),)]
        if cn in _EQUIPMENT:
            return (*body, (_EQUIPMENT[cn],))
        kind = "w" if self._profile.st in ("21", "24", "32") else "a"
        names = ("Min", "Avg", "Max") if period else ("Rtd",)
        for code in [code for code in CODES if code.startswith(kind)][:6]:
            row, name = self._profile.code(code), self._profile.wire_name(code)
            value = written(_made_up(code), row.digits)
            item = [(f"{name}-{part}", value) for part in names]
            if self._profile.flags != "never":
                item.append((f"{name}-Flag", "M"))
            body.append(tuple(item))
        return tuple(body)

    async def run(self, host: str, port: int, listen_s: float) -> TrialOutcome:
        """Try the platform; OSError if it cannot be reached."""
        opening = asyncio.open_connection(host, port)
        async with asyncio.timeout(_CONNECT_S):
            reader, writer = await opening
        self._show(f"connected to {host}:{port} 已连接")
        try:
            await self._talk(reader, writer, listen_s)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        return self.outcome

    async def _talk(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, listen_s: float
    ) -> None:
        device = self._device
        self._events(device.connect(self._now()))
        kinds = list(self._profile.sends)
        for key, cn in enumerate(kinds):
            self._events(device.upload(Hj212Upload(key, cn, self.body(cn)), self._now()))
        quiet_until: int | None = None
        while True:
            raise_if_cancelled()
            self._send(writer)
            await writer.drain()
            now = self._now().boot_ms
            if device.is_idle and quiet_until is None:
                quiet_until = now + int(listen_s * 1000)
            if quiet_until is not None and now >= quiet_until:
                return
            due = [moment for moment in (device.next_ms(), quiet_until) if moment is not None]
            wait_s = max(0.0, (min(due) - now) / 1000) if due else listen_s
            try:
                async with asyncio.timeout(wait_s):
                    data = await reader.read(_READ_BYTES)
            except TimeoutError:
                data = None  # nothing came
            if data == b"":
                self._closed()
                return
            if data is not None:
                self._receive(data)
                continue
            events = device.tick(self._now())
            self._events(events)
            if any(isinstance(event, LinkGivenUp) for event in events):
                return

    def _send(self, writer: asyncio.StreamWriter) -> None:
        data = self._device.outgoing(self._now())
        for found in self._sent.feed(data):
            if isinstance(found, AcceptedFrame):
                message = found.message
                if message.qn is not None and message.st != "91":
                    again = " again 重发" if message.qn in self._asked else ""
                    self._asked[message.qn] = message.cn
                else:
                    again = ""
                self._print("->" + again, message)
        writer.write(data)

    def _receive(self, data: bytes) -> None:
        for found in self._came.feed(data):
            if isinstance(found, AcceptedFrame):
                self._print("<-", found.message)
                self._judge(found.message)
            else:
                self._show(f"<- not a frame 无效帧: {found.error}")
        self._events(self._device.receive(data, self._now()))

    def _print(self, arrow: str, message: Hj212Message) -> None:
        self._show(f"{arrow} {headline(message)}")
        for line in lines(message, self._profile):
            self._show(f"     {line}")

    def _judge(self, message: Hj212Message) -> None:
        """Note how an answer differs from the profile."""
        if not message.cn.startswith("90"):
            return
        about = COMMANDS[message.cn].english if message.cn in COMMANDS else message.cn
        if message.st != self._answer_st:
            self._dislike(f"{about}: ST is {message.st}, the profile expects {self._answer_st}")
        if message.mn != self._mn:
            self._dislike(f"{about}: MN is {message.mn}, ours is {self._mn}")
        if message.qn is not None and message.qn not in self._asked:
            self._dislike(f"{about}: QN {message.qn} answers nothing that was sent")

    def _dislike(self, sentence: str) -> None:
        if sentence not in self.outcome.disliked and len(self.outcome.disliked) < 100:
            self.outcome.disliked.append(sentence)

    def _closed(self) -> None:
        waiting = self._device.pending
        self._dislike(f"the platform closed the connection while {waiting} uploads were not done")

    def _events(self, events: list[Hj212Event]) -> None:
        good = self.outcome.good
        for event in events:
            if isinstance(event, UploadDone):
                how = "answered" if event.is_acknowledged else "sent, no answer expected"
                good.append(f"CN={event.cn} {COMMANDS[event.cn].chinese}: {how}")
            elif isinstance(event, FrameRefused):
                self._dislike(f"a frame of the platform is refused: {event.error}")
            elif isinstance(event, LinkGivenUp):
                self._dislike(event.reason)
            elif isinstance(event, PlatformRefused):
                self._dislike(f"CN={event.cn} was refused by {event.reason}")
                self._device.drop(event)  # the other kinds are to be tried too
            elif isinstance(event, NoticeUnanswered):
                self._dislike(f"the notice CN={event.cn} was not answered")
            elif isinstance(event, PlatformCommand):
                name = COMMANDS[event.cn].english if event.cn in COMMANDS else "unknown"
                good.append(f"the platform asked CN={event.cn} ({name}): {event.detail or 'done'}")


def _made_up(code: str) -> Decimal:
    return {"a01006": Decimal("101.325"), "a01008": Decimal(180), "w01001": Decimal("7.1")}.get(
        code, Decimal("12.345")
    )
