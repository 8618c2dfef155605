"""Records in a real InfluxDB (1.6, of Debian): it takes our lines, and has each record once."""

import asyncio
import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway_agent.uplink.influxdb.config import InfluxUplink
from hil.tools import TOOLS
from tests.free_port import free_port
from tests.unit.gateway_agent.exporters.export_world import exporting, hole, sample, until, writer
from tests.unit.gateway_agent.store_help import WALL_MS

pytestmark = pytest.mark.tool("influxd")


def ask(port: int, query: str) -> list[list[Any]]:  # as JSON has them
    """Return the rows of the answer to a query; OSError while the database is not up."""
    body = urllib.parse.urlencode({"q": query, "db": "site", "epoch": "ns"}).encode()
    address = f"http://127.0.0.1:{port}/query"
    with urllib.request.urlopen(address, body, timeout=5) as answer:
        (result,) = json.load(answer)["results"]
    rows: list[list[Any]] = result.get("series", [{"values": []}])[0]["values"]
    return rows


@contextmanager
def influxdb(folder: Path) -> Iterator[int]:
    """A database ``site`` of InfluxDB on a loopback port, which ends with the block."""
    program, (port, own) = TOOLS["influxd"].find(), (free_port(), free_port())
    assert program is not None
    (folder / "influx.conf").write_text(
        f'reporting-disabled = true\nbind-address = "127.0.0.1:{own}"\n'
        f'[meta]\ndir = "{folder}/meta"\n'
        f'[data]\ndir = "{folder}/data"\nwal-dir = "{folder}/wal"\n'
        f'[http]\nbind-address = "127.0.0.1:{port}"\nlog-enabled = false\n'
        "[monitor]\nstore-enabled = false\n"
    )
    with (folder / "influx.log").open("wb") as log:
        process = subprocess.Popen(
            [program, "-config", folder / "influx.conf"], stdout=log, stderr=log
        )
        try:
            yield port
        finally:
            process.terminate()
            process.wait(10)


async def test_each_record_is_one_point_of_a_real_database(tmp_path: Path) -> None:
    (tmp_path / "db").mkdir()
    with influxdb(tmp_path / "db") as port:
        await until(lambda: is_up(port))
        config = InfluxUplink(url=f"http://127.0.0.1:{port}/write?db=site", latency_ms=0)
        for _ in range(2):  # the second time as after a restart
            async with (
                writer(tmp_path) as outbox,
                exporting(outbox, tmp_path, config) as exporters,
            ):
                await outbox.put([sample(1), sample(2, failed=True), hole(3), hole(3)], {})
                await until(lambda: exporters.tasks and not exporters.tasks[0].feed.behind)
        fields = "SELECT co2, temperature, seq FROM tianfu WHERE device = 'hall' AND bus = 'roof'"
        points = await asyncio.to_thread(ask, port, fields)
        gaps = await asyncio.to_thread(ask, port, "SELECT cause, detail, seq FROM tianfu_gap")
    at = [(WALL_MS + 1000 * second) * 1_000_000 for second in (1, 2, 3)]
    points.sort(key=lambda row: row[-1] or 0)
    gaps.sort(key=lambda row: row[-1] or 0)
    assert points[:2] == [[at[0] + 1, 1, 0.1, 1], [at[1] + 2, 2, None, 2]]
    assert gaps[0] == [at[2] + 3, "bus_timeout", "silent", 3]
    seqs = [row[-1] for row in [*points, *gaps]]
    assert len(seqs) == len(set(seqs)) == 8


def is_up(port: int) -> bool:
    try:
        ask(port, "CREATE DATABASE site")
    except (urllib.error.URLError, ConnectionError):
        return False
    return True
