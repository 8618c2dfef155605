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
from gateway_agent.store.outbox import Outbox
from gateway_agent.store.settings import StoreContext, StoreSettings
from hil.platform.hj212_platform import Hj212Platform
from protocols.uplink import ACTION, CLOCK_SERVER, decode_record
from tests.unit.gateway_agent.slave import TcpSlave
from tests.unit.gateway_agent.store_help import WALL_MS, StillClock, contents
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


async def test_what_a_platform_commands_is_a_record_of_the_agents_stream(tmp_path: Path) -> None:
    """Not allowed here: refused at the platform, and an action beside the readings."""
    platform = Hj212Platform(asks=[("1062", "RtdInterval=30")])
    await platform.start()
    slave = await TcpSlave(answer).start()
    path = write_site(tmp_path, slave.port)
    added = f"""[[uplink]]
type = "hj212"
host = "127.0.0.1"
port = {platform.port}
mn = "010000A8900016F000169DC0"
[outbox]"""
    text = path.read_text().replace("[uplink]", "[[uplink]]").replace("[outbox]", added)
    path.write_text(text)
    clock = SystemClock()
    clock.learn(clock.boot_ms(), WALL_MS, 5, CLOCK_SERVER)
    agent = GatewayAgent(load(path), clock, Counters())
    task = asyncio.create_task(agent.run())
    await until(lambda: any(item.cp == "QnRtn=2" for item in platform.heard))
    assert await stopped(agent, task) < 10
    await slave.close()
    await platform.stop()
    settings = StoreSettings(tmp_path / "state", "gw-1")
    box = Outbox.open(StoreContext(settings, StillClock(), Counters()))
    records = [decode_record(piece) for piece in contents(box, step=500)]
    box.close()
    (found,) = [record for record in records if record.kind == ACTION]
    assert found.action is not None
    assert (found.device_id, found.action.name) == ("gw-1", "command-refused")
    assert found.action.operator == "hj212: hj212"
    assert found.action.detail.startswith("CN=1062 QN=")
