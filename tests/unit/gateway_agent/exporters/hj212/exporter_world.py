"""What tests of the HJ 212 exporter share: its configuration, its clock, records for minutes."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gateway_agent.store.writer import OutboxWriter
from gateway_agent.uplink.export_task import Exporters
from gateway_agent.uplink.hj212.config import Hj212Uplink
from hil.platform.hj212_platform import Hj212Platform
from tests.unit.gateway_agent.exporters.export_world import exporting, sample, until, writer
from tests.unit.gateway_agent.store_help import WALL_MS, StillClock

MN = "010000A8900016F000169DC0"
BEGIN = 120  # WALL_MS is 16:53:20 in Beijing; so many seconds later it is 16:55:20


class MovingClock(StillClock):
    """The wall stands where a test put it; the steady clock runs."""

    def boot_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000


def config(platform: Hj212Platform, **changes: object) -> Hj212Uplink:
    """Return an uplink of the one device, with minutes of one minute."""
    values: dict[str, object] = {
        "host": "127.0.0.1",
        "port": platform.port,
        "mn": MN,
        "points": {"hall/co2": "a05001", "hall/temperature": "a01001"},
        "minutes": 1,
        "late_s": 0,
        "latency_ms": 0,
    }
    return Hj212Uplink(**(values | changes))  # type: ignore[arg-type] # the table above


@asynccontextmanager
async def running(
    root: Path, uplink: Hj212Uplink, clock: StillClock
) -> AsyncIterator[tuple[OutboxWriter, Exporters]]:
    """Run outbox and exporter."""
    async with writer(root, clock) as outbox, exporting(outbox, root, uplink, clock=clock) as tasks:
        await until(lambda: tasks.tasks)
        yield outbox, tasks


async def put(outbox: OutboxWriter, clock: StillClock, first: int, last: int) -> None:
    """Record every four seconds, and let the clock stand at the end."""
    await outbox.put([sample(n) for n in range(first, last, 4)], {})
    clock.wall_ms = WALL_MS + last * 1000


def cps(platform: Hj212Platform, cn: str) -> list[str]:
    """Return the bodies of a CN that the platform acknowledged."""
    return [item.cp for item in platform.answered if item.cn == cn]


def fast_profile(root: Path) -> Path:
    """Return a profile that resends after a second."""
    path = root / "fast.toml"
    path.write_text(
        'title = "fast"\ntitle_zh = "快"\nsources = ["this test"]\nover_time_s = 1\n'
        'on_connect = []\nsends = ["2051", "2061"]\n',
        encoding="utf-8",
    )
    return path
