"""The demo: three real nodes, one line, a gateway, a broker and a collector on this machine.

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
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gateway_agent.agent import GatewayAgent
from gateway_agent.clock import SystemClock
from gateway_agent.collector.intake import read_figures
from gateway_agent.config import load
from gateway_agent.counters import Counters
from gateway_agent.status import DeviceStatus
from hil.bench import FAST, Bench
from hil.bus import Fault, FaultKind
from hil.demo.screen import Row, Value, View
from hil.demo.site import CollectorProcess, Site
from hil.sim.chengdu import Chengdu
from hil.sim.vc0706 import Scene
from hil.site.broker import EmbeddedBroker
from hil.site.ledger import Account, read_database
from protocols.wire.registers import QUALITY_NAMES, map_of_role

#: In these hours the station missed three: from 13 s to 16 s the PMS5003 is silent.
FIRST_HOUR: Final = "2015-01-29T00:00"
#: Motion ends two seconds after the last movement, and a PMS5003 that is asked shows its silence
#: at once: a demo has no time for the usual ten and three seconds.
SETTINGS: Final = {**FAST, "motion_hold_ds": 20, "pms_passive": 1}
_FRAME_S: Final = 0.25
_SETTLE_S: Final = 15.0
_AGENT_STOP_S: Final = 20.0


@dataclass(slots=True)
class Result:
    """``figures`` is the JSON object; ``problems`` is empty exactly when all is accounted for."""

    figures: dict[str, object] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


class Demo:
    """One run in ``folder`` (empty or new), ``duration_s`` long; ``show`` gets a view 4 times a s.

    EngineError, SiteError, OSError: something did not come up.
    """

    def __init__(
        self, folder: Path, duration_s: float, seed: int, show: Callable[[View], None]
    ) -> None:
        self._site = Site(folder)
        self._duration = duration_s
        self._show = show
        self._source = Chengdu(FIRST_HOUR)
        self.bench = Bench(folder / "nodes", self._source, settings=SETTINGS, seed=seed)
        self.broker = EmbeddedBroker()
        self.collector = CollectorProcess(self._site.collector_toml)
        self._counters = Counters()
        self._stop = asyncio.Event()
        self._start = time.monotonic()
        self._note = ""
        self._events: list[str] = []

    async def run(self) -> Result:
        """Set up, run, stop in order, and count."""
        begun = time.monotonic()
        loop = asyncio.get_running_loop()
        async with AsyncExitStack() as stack:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, self._stop.set)
                stack.callback(loop.remove_signal_handler, number)
            broker = await stack.enter_async_context(self.broker)
            bench = await stack.enter_async_context(self.bench)
            self._site.write(bench, broker.port)
            stack.push_async_callback(self.collector.stop)
            await self.collector.start()
            agent = GatewayAgent(load(self._site.gateway_toml), SystemClock(), self._counters)
            await bench.power_on()
            working = asyncio.create_task(agent.run())
            stack.push_async_callback(_end, agent, working)
            await self._play(agent, working)
            sampled = await self._settle(agent, working)
            depth = _depth(agent)
            await _end(agent, working)
            await self.collector.stop()
            for node in bench.nodes.values():
                await node.kill()
            self._keep_console()
            return self._count(sampled, depth, time.monotonic() - begun)

    # --- while it runs ------------------------------------------------------------------------

    async def _play(self, agent: GatewayAgent, working: asyncio.Task[None]) -> None:
        script = asyncio.create_task(self.script())
        stopped = asyncio.create_task(self._stop.wait())
        self._start = time.monotonic()
        try:
            while self._elapsed() < self._duration and not self._stop.is_set():
                self._show(self._view(agent))
                await asyncio.wait(
                    (stopped, working), timeout=_FRAME_S, return_when=asyncio.FIRST_COMPLETED
                )
                if script.done():
                    script.result()
                if working.done():
                    await working  # it ends by itself only with an error
                    break
        finally:
            stopped.cancel()
            script.cancel()
            with suppress(asyncio.CancelledError):
                await script
        self._calm()

    async def script(self) -> None:
        """What happens to the site: a hand over the lens, and a disturbance on the line."""
        bench = self.bench
        covered = max(6.0, 0.35 * self._duration)
        noisy = covered + max(4.0, 0.25 * self._duration)
        await self.at(covered)
        self._note = "somebody moves before the camera and covers it"
        bench.camera.moving = True
        bench.camera.scene = Scene.COVERED
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
        await asyncio.sleep(max(0.0, second - self._elapsed()))

    def _calm(self) -> None:
        self._note = ""
        self.bench.camera.moving = False
        self.bench.camera.scene = Scene.DAY

    def _elapsed(self) -> float:
        return time.monotonic() - self._start

    def _view(self, agent: GatewayAgent) -> View:
        status = agent.snapshot()
        outbox = status.outbox
        counters = self._counters
        return View(
            rows=[_row(node) for node in status.nodes],
            elapsed_s=min(self._elapsed(), self._duration),
            duration_s=self._duration,
            hour=self._source.hour.time,
            recorded=counters.readings_recorded,
            depth=0 if outbox is None else outbox.depth,
            delivered=counters.readings_delivered,
            receipted_to=0 if outbox is None else outbox.receipted_to,
            gaps=counters.gaps.total(),
            note=self._note,
            events=self._last_events(),
        )

    def _last_events(self) -> list[str]:
        """The nodes' newest events as the collector has verified them."""
        query = (
            "SELECT device, name, arg FROM events JOIN records USING (stream_id, seq)"
            " WHERE name IN ('motion', 'sensor') OR name LIKE 'tamper%'"
            " ORDER BY stream_id DESC, seq DESC, number DESC LIMIT 3"
        )
        roles = {self.bench.device_id(role): role for role in self.bench.roles}
        with suppress(sqlite3.Error):
            uri = f"{self._site.database.absolute().as_uri()}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True, timeout=0.05)) as database:
                rows = database.execute(query).fetchall()
            self._events = [_event(roles[device], *rest) for device, *rest in rows]
        return self._events

    # --- the end ------------------------------------------------------------------------------

    async def _settle(
        self, agent: GatewayAgent, working: asyncio.Task[None]
    ) -> dict[str, Mapping[str, object]]:
        """Stop sampling; wait until the last sample of every node is receipted, or too long."""
        bench = self.bench
        answers = await asyncio.gather(*(bench.nodes[role].stop_sampling() for role in bench.roles))
        sampled = dict(zip(bench.roles, answers, strict=True))
        deadline = time.monotonic() + _SETTLE_S
        self._note = "the nodes have stopped sampling, their last samples are fetched and delivered"
        while time.monotonic() < deadline and not working.done():
            if self._all_there(sampled) and _depth(agent) == 0:
                break
            self._show(self._view(agent))
            await asyncio.sleep(_FRAME_S / 2)
        self._note = ""
        self._show(self._view(agent))
        return sampled

    def _all_there(self, sampled: Mapping[str, Mapping[str, object]]) -> bool:
        accounts = read_database(self._site.database)
        for role, figures in sampled.items():
            account = accounts.get(self.bench.device_id(role))
            epoch, last = _number(figures, "boot_epoch"), _number(figures, "sampled_frames")
            if last and (account is None or last not in account.samples[epoch]):
                return False
        return True

    def _keep_console(self) -> None:
        log = self._site.folder / "collector/console.log"
        log.write_text("\n".join(self.collector.lines) + "\n", "utf-8")

    def _count(
        self, sampled: Mapping[str, Mapping[str, object]], depth: int, elapsed_s: float
    ) -> Result:
        counters = self._counters
        collected = read_figures(self._site.database)
        accounts = read_database(self._site.database)
        unexplained: list[str] = []
        by_role: dict[str, int] = {}
        verified: dict[str, int] = {}
        in_gaps: dict[str, int] = {}
        for role, figures in sampled.items():
            account = accounts.get(self.bench.device_id(role), Account())
            by_role[role] = account.readings
            verified[role] = sum(counts.total() for counts in account.samples.values())
            in_gaps[role] = account.in_gaps()
            epoch, last = _number(figures, "boot_epoch"), _number(figures, "sampled_frames")
            unexplained += [f"{role} sample {epoch}/{seq}" for seq in account.missing(epoch, last)]
            unexplained += [f"{role} gap: {gap.cause}" for gap in account.unexplained()]
            unexplained += [f"{role} sample {e}/{seq} twice" for e, seq in account.doubled()]
        result = Result()
        result.figures = {
            "readings_sampled": sum(_number(f, "sampled_readings") for f in sampled.values()),
            "readings_recorded": counters.readings_recorded,
            "readings_delivered": counters.readings_delivered,
            "readings_verified": collected["readings_verified"],
            "readings_verified_by_role": by_role,
            "samples_taken": {r: _number(f, "sampled_frames") for r, f in sampled.items()},
            "samples_verified": verified,
            "samples_in_gaps": in_gaps,
            "gaps": collected.get("gaps", 0),
            "gaps_by_cause": collected["gaps_by_cause"],
            "gaps_unexplained": len(unexplained),
            "duplicates": collected["duplicates"],
            "bad_signatures": collected["bad_signatures"],
            "node_tag_failures": counters.node_tag_failures,
            "records_refused": collected.get("records_refused", 0),
            "in_flight": depth,
            "polls": counters.polls,
            "poll_errors": dict(counters.poll_errors),
            "line_faults": {str(kind): n for kind, n in self.bench.line.applied.items()},
            "events": sum(len(account.events) for account in accounts.values()),
            "batches": counters.batches_sent,
            "elapsed_s": round(elapsed_s, 2),
        }
        result.problems = _judge(result.figures, by_role, unexplained)
        return result


def _judge(
    figures: dict[str, object], by_role: dict[str, int], unexplained: list[str]
) -> list[str]:
    """What keeps the run from being a success, in words."""
    problems = []
    recorded, delivered, verified = (
        figures[f"readings_{name}"] for name in ("recorded", "delivered", "verified")
    )
    if not recorded == delivered == verified:
        problems.append(
            f"recorded, delivered and verified differ: {recorded}, {delivered}, {verified}"
        )
    problems += [f"not accounted for: {what}" for what in unexplained]
    problems += [f"no reading of role {role}" for role, count in by_role.items() if not count]
    for name in ("bad_signatures", "node_tag_failures", "records_refused"):
        if figures[name]:
            problems.append(f"{name}: expected 0, got {figures[name]}")
    return problems


async def _end(agent: GatewayAgent, working: asyncio.Task[None]) -> None:
    """Stop the agent, if it runs; what it raised is raised here."""
    if not working.done():
        agent.request_stop()
        await asyncio.wait((working,), timeout=_AGENT_STOP_S)
    if not working.done():
        working.cancel()
        await asyncio.wait((working,))
    if not working.cancelled():
        working.result()


def _depth(agent: GatewayAgent) -> int:
    """Return how many records wait in the outbox; 0 while it is not open."""
    outbox = agent.snapshot().outbox
    return 0 if outbox is None else outbox.depth


def _number(figures: Mapping[str, object], name: str) -> int:
    value = figures.get(name)
    assert isinstance(value, int), f"a node said {name} = {value!r}"
    return value


def _row(node: DeviceStatus) -> Row:
    values = [
        Value(p.name, "-" if p.value is None else f"{p.value:.6g}", p.unit, p.value is not None)
        for p in node.values
    ]
    age = None if node.age_ms is None else node.age_ms / 1000
    return Row(node.name, node.role, values, age, node.auth, node.polls, node.errors)


def _event(role: str, name: str, arg: int) -> str:
    if name == "sensor":
        point = map_of_role(role).points[arg >> 8].name
        return f"{role}-1: {point} is {QUALITY_NAMES[arg & 0xFF]}"
    return f"{role}-1: {name} {'begins' if arg else 'ends'}"
