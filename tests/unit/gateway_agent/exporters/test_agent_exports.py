"""The agent runs exporters beside the collector's uplink: files, status and trace, to the end."""

import asyncio
import csv
from pathlib import Path

from typer.testing import CliRunner

from gateway_agent.agent import GatewayAgent
from gateway_agent.cli import app
from gateway_agent.cli.status import render
from gateway_agent.clock import SystemClock
from gateway_agent.config import load
from gateway_agent.counters import Counters
from protocols.uplink import CLOCK_SERVER
from tests.unit.gateway_agent.slave import TcpSlave
from tests.unit.gateway_agent.store_help import WALL_MS
from tests.unit.gateway_agent.test_agent import answer, stopped, write_site

from .export_world import until


async def test_polls_reach_the_files_although_no_collector_is_there(tmp_path: Path) -> None:
    slave = await TcpSlave(answer).start()
    path = write_site(tmp_path, slave.port)
    added = '[[uplink]]\ntype = "csv"\nfolder = "out"\nlatency_ms = 10\n[outbox]'
    text = path.read_text().replace("[uplink]", "[[uplink]]").replace("[outbox]", added)
    path.write_text(text)
    clock = SystemClock()
    clock.learn(clock.boot_ms(), WALL_MS, 5, CLOCK_SERVER)
    agent = GatewayAgent(load(path), clock, Counters())
    task = asyncio.create_task(agent.run())
    await until(lambda: agent.snapshot().uplinks)
    await until(lambda: agent.snapshot().uplinks[0].delivered_to >= 20)
    status = agent.snapshot()
    shown = "\n".join(str(line) for line in render(status).lines)
    assert f"uplink csv: {tmp_path / 'out'} connected" in shown
    assert await stopped(agent, task) < 10
    await slave.close()
    found = []
    for file in (tmp_path / "out").glob("*.csv*"):
        with file.open(newline="", encoding="ascii") as lines:
            found += [row["seq"] for row in csv.DictReader(lines)]
    assert sorted(map(int, found)) == list(range(1, len(found) + 1))
    assert len(found) >= 20
    asked = await asyncio.to_thread(
        CliRunner().invoke, app, ["trace", "--seq", "7", "--config", str(path)]
    )
    assert asked.exit_code == 0, asked.output
    assert asked.output.startswith("csv ")
