"""What exporters cost beside the collector's uplink, and how soon a day's outage is made up for.

Each is drained by a process of its own from an outbox that was filled before, so its CPU seconds
are those of reading the outbox, making messages, sending them and keeping the place. The platforms
run in this process, on their own.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import msgspec

from gateway_agent.keys import generate_signing_key
from hil.platform.hj212_platform import Hj212Platform
from hil.platform.sl651_centre import Sl651Centre
from hil.site.toml import dump_toml
from protocols.uplink.hj212 import Hj212Dialect, Hj212Message, Hj212Reader, parse_body, write_frame
from tests.unit.gateway_agent.exporters.line_protocol import serving

from .export_child import GATEWAY, POINTS, ChildCost, ChildOrder
from .gateway import command
from .process import running
from .report import Figures
from .servers import mosquitto

_MN: Final = "010000A8900016F000169DC0"
_EVERY_S: Final = 5
_DAY_MIN: Final = 1440
_FRAMES: Final = 20_000


def _tables(ports: dict[str, int], folder: Path) -> dict[str, dict[str, object]]:
    """Return a table for an exporter of each kind, for one node."""
    broker = {"host": "127.0.0.1", "port": ports["mqtt"]}
    place = {"host": "127.0.0.1", "port": ports["hj212"]}
    element = {"code": "02", "point": "temperature"}
    station = {"device": "n0", "address": "0012345678", "element": [element]}
    centre = {"host": "127.0.0.1", "port": ports["sl651"], "report_min": 5, "station": [station]}
    url = f"http://127.0.0.1:{ports['influxdb']}/write?db=x"
    tables: dict[str, dict[str, object]] = {
        "csv": {"folder": str(folder / "files")},
        "hj212": {**place, "mn": _MN, "nodes": ["n0"], "minutes": 1},
        "influxdb": {"url": url},
        "mqtt-json": {"broker": broker},
        "sl651": centre,
        "sparkplug": {"broker": broker, "group": "city"},
        "thingsboard": {"broker": broker},
    }
    return {kind: {"type": kind, "latency_ms": 0, **table} for kind, table in tables.items()}


async def _cost(order: ChildOrder) -> ChildCost:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.export_child", msgspec.json.encode(order).decode()),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"the exporter's process ended with status {process.returncode}")
    return msgspec.json.decode(output, type=ChildCost)


async def _with_platforms(mqtt: int, folder: Path, work: Callable[..., object]) -> None:
    async with AsyncExitStack() as stack:
        city, centre = Hj212Platform(), Sl651Centre()
        await city.start()
        stack.push_async_callback(city.stop)
        await centre.start()
        stack.push_async_callback(centre.stop)
        database = stack.enter_context(serving())
        ports = {
            "mqtt": mqtt,
            "hj212": city.port,
            "sl651": centre.port,
            "influxdb": database.port,
        }
        await work(_tables(ports, folder))  # type: ignore[misc] # a coroutine function


def bench_exporters(figures: Figures, short: bool) -> None:
    """Measure the CPU seconds of a million readings of each exporter, the collector's first."""
    samples = 100 if short else 10_000
    million = 1e6 / (samples * len(POINTS))
    note = f"{samples:,} samples of one air node, {_EVERY_S} s apart, from a filled outbox"
    with tempfile.TemporaryDirectory() as place, mosquitto(Path(place)) as mqtt:
        folder = Path(place)
        for name in ("gateway.pem", "collector.pem"):
            generate_signing_key(folder / name)
        collector = folder / "collector.toml"
        tables = {
            "collector": {"key": "collector.pem", "database": "collector.db"},
            "broker": {"host": "127.0.0.1", "port": mqtt},
            "gateway": [{"id": GATEWAY, "keys": ["gateway.pem.pub"]}],
        }
        collector.write_text(dump_toml(tables))
        uplink = {"host": "127.0.0.1", "port": mqtt, "latency": "normal"}
        uplink["collector_key"] = str(folder / "collector.pem.pub")
        log = folder / "collector.log"
        with running([str(command()), "collect", "--config", str(collector)], log):
            order = ChildOrder(place, 1, samples, _EVERY_S, collector=dict(uplink))
            cost = asyncio.run(_cost(order))
        name = "CPU per million readings: the collector's uplink"
        figures.add(name, "s", cost.cpu_s * million, note=f"signed, receipts; {note}")

        async def measure(tables: dict[str, dict[str, object]]) -> None:
            for kind, table in tables.items():
                (own := folder / kind).mkdir()
                cost = await _cost(ChildOrder(str(own), 1, samples, _EVERY_S, [table]))
                name = f"CPU per million readings: {kind}"
                figures.add(name, "s", cost.cpu_s * million)

        asyncio.run(_with_platforms(mqtt, folder, measure))
    _bench_frames(figures, 200 if short else _FRAMES)


def _bench_frames(figures: Figures, count: int) -> None:
    """Measure how many frames of minute data are made and read in a second."""
    body = parse_body(
        "DataTime=20261128110000;"
        + ";".join(
            f"{code}-Min=17.5,{code}-Avg=18.25,{code}-Max=20.1,{code}-Flag=N"
            for code in ("a34004", "a34002", "a05001", "a01001", "a01002")
        )
    )
    message = Hj212Message(
        st="22", cn="2051", pw="123456", mn=_MN, body=body, qn="20261128110000123", flag=5
    )
    dialect = Hj212Dialect()
    start = time.process_time()
    frames = [write_frame(message, dialect) for _ in range(count)]
    wrote_s = time.process_time() - start
    reader, read = Hj212Reader(dialect.checksum), 0
    start = time.process_time()
    for frame in frames:
        read += len(reader.feed(frame))
    read_s = time.process_time() - start
    if read != count:
        raise RuntimeError(f"{read} of {count} frames were read")
    note = f"minute data of five codes, {len(frames[0])} bytes"
    figures.add("HJ 212: frames written", "frames/s", count / wrote_s, note=note)
    figures.add("HJ 212: frames read", "frames/s", count / read_s, note=note)


def bench_outage(figures: Figures, short: bool) -> None:
    """Measure how a day's records of 200 nodes are brought to platforms that were away."""
    nodes, minutes = (4, 30) if short else (200, _DAY_MIN)
    what = f"a day of minutes of {nodes} nodes after an outage"
    with tempfile.TemporaryDirectory() as place, mosquitto(Path(place)) as mqtt:
        folder = Path(place)

        async def measure(tables: dict[str, dict[str, object]]) -> None:
            one = tables["hj212"]
            of_all = [
                {**one, "name": f"n{node}", "nodes": [f"n{node}"], "mn": f"{node:024}"}
                for node in range(nodes)
            ]
            measured = (
                ("influxdb", [tables["influxdb"]], ""),
                ("mqtt-json", [tables["mqtt-json"]], ""),
                ("hj212", [one], "of one of the nodes"),
                (f"hj212 with {nodes} MNs", of_all, "each node has its own uplink"),
            )
            for kind, uplinks, note in measured:
                (own := folder / kind.replace(" ", "-")).mkdir()
                cost = await _cost(ChildOrder(str(own), nodes, minutes, 60, uplinks))
                name = f"{what}, {kind}"
                figures.add(f"{name}: drained in", "s", cost.wall_s, note=note)
                figures.add(f"{name}: CPU", "s", cost.cpu_s)
                figures.add(f"{name}: sent", "MB", cost.bytes / 1e6)
                figures.add(
                    f"{name}: memory beyond what it had", "MiB", cost.peak_mib - cost.resident_mib
                )

        asyncio.run(_with_platforms(mqtt, folder, measure))
