"""The demo: three real nodes, two lines, a gateway, a broker and a collector on this machine.

In this process run the simulated parts and the line, the broker and the gateway agent; every node
and the collector are processes of their own. The run ends in order: the nodes stop sampling but go
on serving, the gateway fetches their last samples and delivers everything, and only then are the
figures collected, each where it is counted.
"""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from gateway_agent.collector.database import open_readonly
from hil.bench import FAST, ROLES, Bench, one_of_each
from hil.bus import Fault, FaultKind
from hil.demo.figures import figures_of
from hil.demo.motion import MotionReport
from hil.demo.platforms import DemoPlatforms
from hil.demo.screen import View
from hil.sim.chengdu import Chengdu
from hil.sim.vc0706 import Scene
from hil.site.broker import EmbeddedBroker
from hil.site.files import SiteFiles
from hil.site.gateways import GatewayTask
from hil.site.processes import CollectorProcess
from hil.site.site import Site
from protocols.wire.register_names import QUALITY_NAMES
from protocols.wire.registers import map_of_role

#: In these hours the station missed three: from 13 s to 16 s the PMS5003 is silent.
FIRST_HOUR: Final = "2015-01-29T00:00"
#: Motion ends two seconds after the last movement, and a PMS5003 that is asked shows its silence
#: at once: a demo has no time for the usual ten and three seconds.
SETTINGS: Final = {**FAST, "motion_hold_ds": 20, "pms_passive": 1}
#: The camera pushes over a serial link, and its pictures may leave it.
CAMERA: Final = {"link_baud_div_100": 1152, "image_export": 1}
_FRAME_S: Final = 0.25
_SETTLE_S: Final = 15.0
_EVENTS: Final = (
    "SELECT device, name, arg FROM events JOIN records USING (stream_id, seq)"
    " WHERE name IN ('motion', 'sensor') OR name LIKE 'tamper%'"
    " ORDER BY stream_id DESC, seq DESC, number DESC LIMIT 3"
)


@dataclass(frozen=True, slots=True)
class DemoSummary:
    """``figures`` is the JSON object; ``problems`` is empty exactly when all is accounted for."""

    figures: dict[str, object]
    problems: list[str]


class Demo:
    """One run in ``folder`` (empty or new), ``duration_s`` long; ``show`` gets a view 4 times a s.

    HilError, OSError: something did not come up.
    """

    def __init__(
        self,
        folder: Path,
        duration_s: float,
        seed: int,
        show: Callable[[View], None],
        platforms: DemoPlatforms | None = None,
    ) -> None:
        files = SiteFiles(folder)
        self._platforms = platforms
        self._duration_s = duration_s
        self._show = show
        self._source = Chengdu(FIRST_HOUR)
        places = [
            replace(place, settings=CAMERA) if place.role == "camera" else place
            for place in one_of_each(ROLES)
        ]
        self.bench = Bench(
            folder / "nodes", self._source, places=places, settings=SETTINGS, seed=seed
        )
        self.broker = EmbeddedBroker()
        self.collector = CollectorProcess(files.collector_toml)
        gateway = GatewayTask(files.gateway_toml)
        self.site = Site(files, self.bench, self.broker, gateway, self.collector)
        self._stop = asyncio.Event()
        self._start = time.monotonic()
        self._note = ""
        self._events: list[str] = []
        self._motion = MotionReport(files, self.bench.device_id)

    async def run(self) -> DemoSummary:
        """Set up, run, stop in order, and count."""
        begun = time.monotonic()
        async with AsyncExitStack() as stack:
            loop = asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, self._stop.set)
                stack.callback(loop.remove_signal_handler, number)
            await stack.enter_async_context(self.broker)
            if self._platforms is not None:
                await self._platforms.start()
                stack.push_async_callback(self._platforms.stop)
                self.site.files.more_uplinks = self._platforms.tables()
            await stack.enter_async_context(self.bench)
            await stack.enter_async_context(self.site)
            self._start = time.monotonic()
            async with self._painting():
                await self._play()
                self._note = (
                    "the nodes have stopped sampling, their last samples are fetched and delivered"
                )
                account = await self.site.settle(_SETTLE_S)
            await self.site.stop()
        log = self.site.files.folder / "collector/console.log"
        log.write_text(self.collector.log(), encoding="utf-8")
        faults = {str(kind): count for kind, count in self.bench.line.applied.items()}
        figures = figures_of(account, faults, time.monotonic() - begun)
        figures["motion"] = self._motion.figures()
        if self._platforms is not None:
            figures["platforms"] = self._platforms.figures()
        return DemoSummary(figures, account.problems())

    # --- what happens -------------------------------------------------------------------------

    async def _play(self) -> None:
        """Run the script until the time is over, the user stops it, or the gateway has failed."""
        script = asyncio.create_task(self.script())
        stopped = asyncio.create_task(self._stop.wait())
        try:
            while self._elapsed_s() < self._duration_s and not stopped.done():
                await asyncio.wait((stopped,), timeout=_FRAME_S)
                if script.done():
                    script.result()
                if not self.site.gateway.is_running():
                    await self.site.gateway.stop()  # raises what has ended it
                    break
        finally:
            for task in (stopped, script):
                task.cancel()
            await asyncio.wait((stopped, script))
        if not script.cancelled():
            script.result()
        self._calm()

    async def script(self) -> None:
        """Disturb the site: a hand over the lens, then noise on the line."""
        bench = self.bench
        covered = max(6.0, 0.35 * self._duration_s)
        noisy = covered + max(4.0, 0.25 * self._duration_s)
        await self.at(covered)
        self._note = "a person moves before the camera and covers it"
        bench.camera.moving = True
        bench.camera.scene = Scene.COVERED
        self._note = await self._motion.follow("camera")
        await self.at(covered + 4)
        self._calm()
        await self.at(noisy)
        self._note = "noise on the RS-485 line"
        bench.line.noise(40)
        burst = bench.line.inject(Fault(FaultKind.FLIP, times=3))
        await self.at(noisy + 1.5)
        bench.line.disarm(burst)
        self._calm()

    async def at(self, second: float) -> None:
        """Wait until so many seconds of the run have passed."""
        await asyncio.sleep(max(0.0, second - self._elapsed_s()))

    def _calm(self) -> None:
        self._note = ""
        self.bench.camera.moving = False
        self.bench.camera.scene = Scene.DAY

    # --- what is shown ------------------------------------------------------------------------

    @asynccontextmanager
    async def _painting(self) -> AsyncIterator[None]:
        """Show a view four times a second while the block runs, and a last one at its end."""

        async def paint() -> None:
            while True:
                self._show(self._view())
                await asyncio.sleep(_FRAME_S)

        painter = asyncio.create_task(paint())
        try:
            yield
        finally:
            painter.cancel()
            await asyncio.wait((painter,))
        if not painter.cancelled():
            painter.result()
        self._note = ""
        self._show(self._view())

    def _view(self) -> View:
        return View(
            status=self.site.gateway.status(),
            elapsed_s=min(self._elapsed_s(), self._duration_s),
            duration_s=self._duration_s,
            hour=self._source.hour.time,
            note=self._note,
            events=self._last_events(),
            platforms=() if self._platforms is None else self._platforms.lines(),
        )

    def _last_events(self) -> list[str]:
        """Return the nodes' newest events as the collector has verified them."""
        roles = {self.bench.device_id(role): role for role in self.bench.names}
        with (
            suppress(sqlite3.Error),
            closing(open_readonly(self.site.files.database, timeout_s=0.05)) as database,
        ):
            rows = database.execute(_EVENTS).fetchall()
            self._events = [_event(roles[device], *rest) for device, *rest in rows]
        return self._events

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._start


def _event(role: str, name: str, arg: int) -> str:
    if name == "sensor":
        point = map_of_role(role).points[arg >> 8].name
        return f"{role}-1: {point} is {QUALITY_NAMES[arg & 0xFF]}"
    return f"{role}-1: {name} {'begins' if arg else 'ends'}"
