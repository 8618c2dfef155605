"""Answers ``/api/v1``: the same data as the pages, as JSON. Nothing here changes anything."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Final, NamedTuple, TypeAlias

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from gateway_agent.cancellation import raise_if_cancelled
from gateway_agent.config import GatewayConfig
from gateway_agent.field.line_tap import ViewersError
from gateway_agent.field.planner import BusPlan
from gateway_agent.redaction import public_url
from gateway_agent.status import DeviceStatus, Status
from gateway_agent.store.errors import StoreError

from .access import Access, problem, visitor_of
from .events import EventList, LogList
from .history import Recorder, oldest_ms
from .plan import buses_of, plans_of
from .series import history_of, in_steps
from .shapes import (
    AlarmReport,
    ApiProblem,
    Buses,
    Configuration,
    DeliveryReport,
    DeviceHistory,
    EventReport,
    FrameReport,
    LogReport,
    Overview,
    encoded,
)
from .streams import Streams, event
from .view import AgentView

ROOT: Final = "/api/v1"
LIVE_S: Final = 1.0
_ORDER: Final = {"failing": 0, "quarantined": 0, "new": 1, "ok": 2}

#: The answer, or its JSON where that is long enough to be made in a thread.
Asked: TypeAlias = Callable[[Request], Awaitable[Struct | bytes]]
CHUNK: Final = 1 << 18  # bytes of a long answer that are written in one turn of the loop


class ApiEndpoint(NamedTuple):
    """One address: ``answer`` is the type that it gives."""

    path: str
    what: str
    answer: type[Struct]
    ask: Asked


class ApiError(Exception):
    """There is no such thing; the text gives what there is."""


class Api:
    """The addresses below ``/api/v1``."""

    def __init__(
        self,
        view: AgentView,
        recorder: Recorder,
        events: EventList,
        log: LogList,
        access: Access,
    ) -> None:
        self._view = view
        self._streams = Streams(access)
        self._recorder = recorder
        self._events = events
        self._log = log
        self._plans: tuple[GatewayConfig, list[BusPlan]] | None = None
        self._newest: tuple[Status, bytes] | None = None  # encoded once for all viewers
        self.endpoints: Final = (
            ApiEndpoint("/overview", "The gateway and every device", Overview, self._overview),
            ApiEndpoint("/devices/{name}", "One device", DeviceStatus, self._device),
            ApiEndpoint(
                "/devices/{name}/history",
                "Up to 48 hours of one device: values, qualities, gaps",
                DeviceHistory,
                self._history,
            ),
            ApiEndpoint("/buses", "What each device costs its bus", Buses, self._buses),
            ApiEndpoint(
                "/outbox", "Outbox, uplinks, reconciliations", DeliveryReport, self._outbox
            ),
            ApiEndpoint("/alarms", "Alarms that are not normal", AlarmReport, self._alarms),
            ApiEndpoint("/events", "What began and ended", EventReport, self._get_events),
            ApiEndpoint("/log", "The newest lines of the log", LogReport, self._get_log),
            ApiEndpoint("/config", "The configuration in force", Configuration, self._config),
        )

    def routes(self) -> list[Route]:
        """Return the routes of all addresses."""
        routes = [Route(ROOT + item.path, _answering(item.ask)) for item in self.endpoints]
        return [
            *routes,
            Route(ROOT + "/live", self._streams.of(lambda _: self._overviews())),
            Route(ROOT + "/buses/{name}/frames", self._streams.of(self._frames)),
        ]

    async def _overview(self, _: Request) -> Overview:
        return _overview_of(await self._view.status())

    async def _live_overview(self) -> bytes:
        status = await self._view.status()
        if self._newest is None or self._newest[0] is not status:
            self._newest = status, encoded(_overview_of(status))
        return self._newest[1]

    async def _find(self, request: Request) -> DeviceStatus:
        name = request.path_params["name"]
        for device in (await self._view.status()).nodes:
            if name in (device.name, device.id):
                return device
        raise ApiError(f"expected the name of a device, got {name!r}: see {ROOT}/overview")

    async def _device(self, request: Request) -> DeviceStatus:
        return await self._find(request)

    async def _history(self, request: Request) -> bytes:
        device = await self._find(request)
        asked = request.query_params.get("from_ms", "0")
        if not asked.isdecimal() or len(asked) > 15:
            raise ApiError(f"from_ms: expected milliseconds since 1970, got {asked[:40]!r}")
        from_ms = max(int(asked), oldest_ms())
        pieces = await self._recorder.series(device.id, from_ms, 1 << 62)
        units = {point.name: point.unit for point in device.values}
        silent_ms = max(60_000, 3 * self._period_ms(device))
        return await asyncio.to_thread(
            lambda: in_steps(history_of(device.id, pieces, units, from_ms, silent_ms))
        )

    def _period_ms(self, device: DeviceStatus) -> int:
        config = self._view.config
        for bus in (*config.bus, *config.link):
            for item in bus.device:
                if item.name == device.name:
                    return item.period_ms
        return 0

    async def _buses(self, _: Request) -> Buses:
        config = self._view.config
        if self._plans is None or self._plans[0] is not config:
            self._plans = config, await asyncio.to_thread(plans_of, config)
        status, used = await self._view.status(), self._view.agent.buses()
        return buses_of(self._plans[1], config, status, used)

    async def _outbox(self, _: Request) -> DeliveryReport:
        status = await self._view.status()
        return DeliveryReport(
            outbox=status.outbox,
            uplinks=[] if status.uplink is None else [status.uplink],
            longest_wait_ms=await self._longest_wait_ms(),
            exporters=status.uplinks,
            notify=status.notify,
            reconciliation=status.reconciliation,
            waiting_for=status.waiting_for,
            counters=status.counters.as_dict(),
        )

    async def _longest_wait_ms(self) -> int | None:
        try:
            return await self._view.agent.longest_wait_ms()
        except StoreError:  # the outbox is damaged or closed, which status shows
            return None

    async def _alarms(self, _: Request) -> AlarmReport:
        return AlarmReport(alarms=(await self._view.status()).alarm_summary)

    async def _get_events(self, _: Request) -> EventReport:
        return EventReport(events=self._events.newest())

    async def _get_log(self, _: Request) -> LogReport:
        return LogReport(lines=list(reversed(self._log.lines)))

    async def _config(self, request: Request) -> Configuration:
        config = {
            key: _public(value)
            for key, value in msgspec.to_builtins(self._view.config, enc_hook=str).items()
        }
        reloader, visitor = self._view.agent.reloader, visitor_of(request)
        if reloader is None:
            return Configuration(config=config, state=None)
        is_operator = visitor is not None and visitor.role == "operator"
        text = reloader.text if is_operator else ""
        return Configuration(config=config, state=reloader.state(), text=text)

    async def _overviews(self) -> AsyncGenerator[bytes, None]:
        """Yield the overview once a second."""
        while True:
            raise_if_cancelled()
            yield event("overview", await self._live_overview())
            await asyncio.sleep(LIVE_S)

    async def _frames(self, request: Request) -> AsyncGenerator[bytes, None]:
        """Yield each frame that passes on a bus, in words."""
        lost, name = 0, request.path_params["name"]
        try:
            async with aclosing(self._view.agent.watch_frames(name)) as frames:
                async for frame in frames:
                    if isinstance(frame, int):
                        lost += frame
                        continue
                    report = FrameReport(
                        t_ms=time.time_ns() // 1_000_000,
                        kind=str(frame.kind),
                        text=frame.describe(),
                        data=frame.data.hex(),
                        lost=lost,
                    )
                    lost = 0
                    yield event("frame", encoded(report))
        except (LookupError, ViewersError) as error:
            yield event("problem", encoded(ApiProblem(error=str(error))))


def _overview_of(status: Status) -> Overview:
    """Return what the first page shows."""
    found = status.reconciliation
    return Overview(
        gateway=status.gateway,
        running_ms=status.running_ms,
        ok=not status.health,
        problems=status.health,
        alarms=status.alarms,
        unaccounted=0 if found is None else found.unaccounted,
        outbox=status.outbox,
        devices=sorted(status.nodes, key=lambda device: _ORDER[device.state]),
    )


async def _chunks(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), CHUNK):
        yield body[start : start + CHUNK]
        await asyncio.sleep(0)


def _answering(ask: Asked) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            answer = await ask(request)
            body = answer if isinstance(answer, bytes) else encoded(answer)
            if len(body) > CHUNK:
                return StreamingResponse(_chunks(body), media_type="application/json")
            return Response(body, media_type="application/json")
        except ApiError as error:
            return problem(str(error), 404)

    return answer


def _public(value: object) -> object:
    """Return a configuration in builtin types without what its addresses may hide."""
    if isinstance(value, dict):
        return {
            key: public_url(item) if key == "url" and isinstance(item, str) else _public(item)
            for key, item in value.items()
        }
    return [_public(item) for item in value] if isinstance(value, (list, tuple)) else value
