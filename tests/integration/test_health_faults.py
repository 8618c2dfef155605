"""Each fault that stops data, in real processes: how long until the health checks are red.

The limit is 30 s. In simulated time tests/unit/gateway_agent/test_progress.py has the same faults;
here they are real, and the time is read at the HTTP answers. What ends the agent is red, too: then
nothing answers.
"""

import asyncio
import contextlib
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest

from hil.site.mosquitto import MosquittoBroker
from tests.promise.disk import SmallDisk, small_disk
from tests.promise.site import PromiseSite, site_of, until
from tests.unit.gateway_agent.web.help import Answer, fetch

pytestmark = [pytest.mark.exhaustive, pytest.mark.mosquitto, pytest.mark.timeout(240)]

LIMIT_S: Final = 30.0
PERIOD_MS: Final = 100
#: The first poller hangs as soon as there is a file of this name.
_HANGING: Final = """
import asyncio, pathlib
from gateway_agent.field.poller import BusPoller
poll = BusPoller._poll
async def hanging(self, *rest):
    if pathlib.Path({path!r}).exists():
        await asyncio.Event().wait()
    return await poll(self, *rest)
BusPoller._poll = hanging
"""


class Watched:
    """A site with a console, and what its health checks answer."""

    def __init__(self, site: PromiseSite, disk: SmallDisk | None) -> None:
        self.site = site
        self.disk = disk
        with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as free:
            self.port = free.getsockname()[1]

    def configure(self, more: str = "") -> None:
        site = self.site
        state = "disk/state" if self.disk is not None else "state"
        site.configure([PERIOD_MS], state=state)
        text = site.gateway_toml.read_text()
        site.gateway_toml.write_text(f'{text}\n[web]\nlisten = "127.0.0.1:{self.port}"\n{more}')

    async def ask(self, path: str) -> Answer | None:
        """Return the answer; None: nothing answers."""
        try:
            return await fetch(self.port, path)
        except (OSError, ValueError, IndexError):
            return None

    async def is_green(self) -> bool:
        answers = [await self.ask(path) for path in ("/healthz", "/readyz")]
        return all(answer is not None and answer.status == 200 for answer in answers)

    async def red_after(self, stage: str, what: str) -> float:
        """Return the seconds until both checks are red for ``stage``, or nobody answers."""
        begin = time.monotonic()
        while time.monotonic() - begin < 2 * LIMIT_S:
            health, ready = await self.ask("/healthz"), await self.ask("/readyz")
            if health is None and ready is None:
                return time.monotonic() - begin
            if health is not None and ready is not None and health.status == ready.status == 503:
                stages: list[dict[str, Any]] = health.json()["problems"]
                if any(problem["stage"] == stage for problem in stages):
                    return time.monotonic() - begin
            await asyncio.sleep(0.1)
        raise AssertionError(f"not red within {2 * LIMIT_S} s: {what}")


@contextlib.asynccontextmanager
async def watched(
    broker: MosquittoBroker, root: Path, on_small_disk: bool = False
) -> AsyncIterator[Watched]:
    async with site_of(broker, root) as site, contextlib.AsyncExitStack() as stack:
        disk = None
        if on_small_disk:
            disk = await stack.enter_async_context(small_disk(root / "disk"))
            site.state, site.gateway.launcher = disk.path / "state", disk.enter
        found = Watched(site, disk)
        found.configure()
        yield found


async def _begin(found: Watched) -> None:
    await found.site.collector.start()
    await found.site.gateway.start()
    deadline = time.monotonic() + 60
    while not await found.is_green():
        assert time.monotonic() < deadline, found.site.gateway.log.read_text()
        await asyncio.sleep(0.1)


async def _no_broker(found: Watched) -> None:
    found.site.broker.kill()


async def _no_collector(found: Watched) -> None:
    await found.site.collector.kill()


async def _no_bus(found: Watched) -> None:
    await found.site.slave.close()


async def _silence(found: Watched) -> None:
    found.site.device.silent.add(1)


async def _frozen_collector(found: Watched) -> None:
    found.site.collector.send(signal.SIGSTOP)


Fault = Callable[[Watched], Awaitable[None]]
Note = Callable[[str, object], None]


@pytest.fixture
def note(record_property: Note) -> Note:
    """Notes what was measured in the report of the run."""
    return record_property


@pytest.mark.parametrize(
    ("fault", "stage"),
    [
        (_no_broker, "receipts"),
        (_no_collector, "receipts"),
        (_frozen_collector, "receipts"),
        (_no_bus, "polls"),
        (_silence, "polls"),
    ],
)
async def test_what_is_away_is_red_within_30_s(
    broker: MosquittoBroker, tmp_path: Path, note: Note, fault: Fault, stage: str
) -> None:
    async with watched(broker, tmp_path) as found:
        await _begin(found)
        await fault(found)
        seconds = await found.red_after(stage, fault.__name__)
        note("red_after_s", seconds)
        assert seconds <= LIMIT_S


async def test_a_full_medium_is_red_within_30_s(
    broker: MosquittoBroker, tmp_path: Path, note: Note
) -> None:
    async with watched(broker, tmp_path, on_small_disk=True) as found:
        await _begin(found)
        await found.site.collector.kill()  # with receipts the outbox needs no more room
        assert found.disk is not None
        found.disk.fill()
        await until(found.site.is_full, "the outbox has no room")
        seconds = await found.red_after("commits", "disk full")
        note("red_after_s", seconds)
        assert seconds <= LIMIT_S


async def test_a_poller_that_hangs_is_red_within_30_s(
    broker: MosquittoBroker, tmp_path: Path, note: Note
) -> None:
    async with watched(broker, tmp_path) as found:
        path = tmp_path / "hang"
        found.site.gateway.patch(_HANGING.format(path=str(path)))
        await _begin(found)
        path.touch()
        seconds = await found.red_after("polls", "a poller hangs")
        note("red_after_s", seconds)
        assert seconds <= LIMIT_S


async def test_a_medium_that_is_read_only_is_red_at_once(
    broker: MosquittoBroker, tmp_path: Path, note: Note
) -> None:
    """A file that cannot be written ends the agent, and a new one does not start on it."""
    async with watched(broker, tmp_path, on_small_disk=True) as found:
        await _begin(found)
        await found.site.gateway.kill()
        disk = found.disk
        assert disk is not None
        remount = (*disk.enter, "mount", "-o", "remount,ro", str(disk.place))
        process = await asyncio.create_subprocess_exec(*remount)
        assert await process.wait() == 0
        await found.site.gateway.start()
        seconds = await found.red_after("commits", "read-only")
        note("red_after_s", seconds)
        assert seconds <= LIMIT_S
        assert await found.site.gateway.ended() != 0
        assert "read-only" in found.site.gateway.log.read_text().lower()


async def test_a_platform_that_gets_nothing_without_a_clock_is_red_within_30_s(
    broker: MosquittoBroker, tmp_path: Path, note: Note
) -> None:
    """A record without a time can go to no platform of files by day; to a collector it can."""
    async with watched(broker, tmp_path) as found:
        found.configure()
        text = found.site.gateway_toml.read_text()
        text = text.replace("[uplink]", "[[uplink]]").replace(
            'collector_key = "collector.pem.pub"', 'receipt = "puback"'
        )
        csv = '[[uplink]]\ntype = "csv"\nfolder = "export"\n'
        found.site.gateway_toml.write_text(text.replace("[outbox]", f"{csv}[outbox]"))
        found.site.gateway.patch(
            "from gateway_agent.clock import SystemClock, Wall\n"
            "SystemClock.wall = lambda self: Wall(None, 0, 0)"
        )
        await found.site.gateway.start()
        await until(lambda: found.site.status() is not None, "the agent runs")
        seconds = await found.red_after("receipts", "no clock")
        note("red_after_s", seconds)
        assert seconds <= LIMIT_S
