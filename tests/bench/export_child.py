"""A gateway's outbox and its exporters in a process of their own, whose cost the kernel counts.

The records are put into the outbox first. Then the exporters are started, and what they cost is
taken until every platform has everything. Arguments and result are JSON.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from gateway_agent.clock import SystemClock
from gateway_agent.config import MqttUplink
from gateway_agent.counters import Counters
from gateway_agent.keys import load_private, load_public
from gateway_agent.store.outbox import Outbox
from gateway_agent.store.settings import StoreContext, StoreSettings
from gateway_agent.store.writer import OutboxWriter
from gateway_agent.uplink.export_task import Exporters
from gateway_agent.uplink.feed import ExportContext
from gateway_agent.uplink.hj212.exporter import Hj212Exporter
from gateway_agent.uplink.kinds import config_types
from gateway_agent.uplink.mqtt import Uplink, UplinkKeys
from protocols.export_record import DeviceInfo
from protocols.uplink import CLOCK_SYNCHRONISED, ProfileTemplate, Record, Stamp

from .process import peak_mib, resident_mib

GATEWAY: Final = "bench"
POINTS: Final = (
    ("pm1_0", "ug/m3", 0), ("pm2_5", "ug/m3", 0), ("pm10", "ug/m3", 0), ("co2", "ppm", 0),
    ("temperature", "Cel", -1), ("humidity", "%RH", -1), ("particles_0_3", "/dl", 0),
)  # fmt: skip
_GROUP: Final = 500  # records in one commit


class ChildOrder(msgspec.Struct):
    """What a child is asked to do. ``uplinks``: tables of ``[[uplink]]``; ``collector``: of it."""

    folder: str
    nodes: int
    samples: int  # of each node, the newest now
    every_s: int
    uplinks: list[dict[str, object]] = []
    collector: dict[str, object] | None = None


class ChildCost(msgspec.Struct):
    """What it took. ``resident_mib``: before the exporters were started."""

    cpu_s: float
    wall_s: float
    bytes: int
    messages: int
    resident_mib: float
    peak_mib: float


def _records(order: ChildOrder, clock: SystemClock) -> Iterator[Record]:
    templates = [ProfileTemplate(f"{GATEWAY}.n{node}", POINTS) for node in range(order.nodes)]
    now_ms, boot_ms = time.time_ns() // 1_000_000, clock.boot_ms()
    for sample in range(order.samples):
        wall_ms = now_ms - (order.samples - sample) * order.every_s * 1000
        for node, template in enumerate(templates):
            swing = (sample * 7 + node * 3) % 40
            values = [12 + swing, 18 + swing, 20 + swing, 600 + swing, 211 + swing, 500, 4400]
            at_ms = wall_ms + node
            stamp = Stamp(boot_ms - 1, boot_ms, at_ms, 20, CLOCK_SYNCHRONISED)
            yield template.record(values, stamp)


def _is_done(exporters: Exporters, last: int) -> bool:
    for task in exporters.tasks:
        if isinstance(task._exporter, Hj212Exporter):
            work = task._exporter._work
            if work is None or work.mark()[1] < last or work.device.pending:
                return False
            if any(work.aggregates.unsent()):
                return False
        elif not task.feed.is_settled:
            return False
    return bool(exporters.tasks)


def _path(kind: type, text: object) -> object:
    return kind(text)


async def _run(order: ChildOrder) -> ChildCost:
    folder, clock = Path(order.folder), SystemClock()
    clock.learn(clock.boot_ms(), time.time_ns() // 1_000_000, 20, CLOCK_SYNCHRONISED)
    context = StoreContext(StoreSettings(folder / "state", GATEWAY), clock, Counters())
    outbox = OutboxWriter(Outbox.open(context))
    outbox.start()
    types = {str(one.__struct_config__.tag): one for one in config_types()}
    configs = [
        msgspec.convert(table, types[str(table["type"])], dec_hook=_path) for table in order.uplinks
    ]
    await outbox.attach([one.label for one in configs], [one.label for one in configs])
    group: list[Record] = []
    for record in _records(order, clock):
        group.append(record)
        if len(group) == _GROUP:
            await outbox.put(group, {})
            group = []
    await outbox.put(group, {})
    devices = {
        f"{GATEWAY}.n{node}": DeviceInfo(
            f"{GATEWAY}.n{node}", f"n{node}", "roof", "air", order.every_s * 1000
        )
        for node in range(order.nodes)
    }
    exporters = Exporters(
        configs, ExportContext(GATEWAY, clock, folder / "state", devices), 1 << 32
    )
    resident = resident_mib(os.getpid())
    cpu_s, wall_s = time.process_time(), time.monotonic()
    task: asyncio.Task[None]
    if order.collector is not None:
        config = msgspec.convert(
            order.collector, MqttUplink, dec_hook=lambda kind, text: kind(text)
        )
        keys = UplinkKeys(
            load_private(folder / "gateway.pem"), load_public(folder / "collector.pem.pub")
        )
        task = asyncio.create_task(Uplink(config, GATEWAY, keys, outbox, Counters()).run())
    else:
        task = asyncio.create_task(exporters.run(outbox))
    last = outbox.stats.last
    while not (outbox.stats.depth == 0 if order.collector else _is_done(exporters, last)):
        if task.done():
            task.result()
        await asyncio.sleep(0.05)
    cost = ChildCost(
        time.process_time() - cpu_s,
        time.monotonic() - wall_s,
        sum(one.feed.status.bytes for one in exporters.tasks),
        sum(one.feed.status.messages for one in exporters.tasks),
        resident,
        peak_mib(os.getpid()),
    )
    task.cancel()
    await asyncio.wait({task})
    await outbox.close()
    return cost


if __name__ == "__main__":
    found = asyncio.run(_run(msgspec.json.decode(sys.argv[1], type=ChildOrder)))
    print(json.dumps(msgspec.to_builtins(found)))
