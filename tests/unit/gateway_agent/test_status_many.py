"""The status of a site with many points leaves the event loop to the polls while it is made."""

import asyncio
import json
import socket
from pathlib import Path

import pytest

from gateway_agent.agent import GatewayAgent
from gateway_agent.clock import SystemClock
from gateway_agent.config import load
from gateway_agent.counters import Counters
from gateway_agent.field.profile_reader import ProfileReader
from gateway_agent.status import PointValue, from_json
from gateway_agent.status_socket import SOCKET_NAME, read_status, short_name

from .slave import until
from .test_agent import stopped, write_site

DEVICES, POINTS, PIECE = 160, 100, 1000
VALUES = [PointValue(f"point_{number}", "mm", number / 8) for number in range(POINTS)]


class Site:
    """An agent with many devices that cannot be reached; it counts what is taken from them."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = write_site(folder, 1)
        with path.open("a") as file:
            for unit in range(2, DEVICES + 1):
                file.write(
                    f'[[bus.device]]\nname = "d{unit}"\nunit = {unit}\nkind = "profile"\n'
                    'profile = "senseair-s8"\nperiod_ms = 86400000\n'
                )
        self.agent = GatewayAgent(load(path), SystemClock(), Counters())
        self.state = folder / "state"
        self.points = 0
        monkeypatch.setattr(ProfileReader, "values", self._values)

    def _values(self) -> list[PointValue]:
        self.points += POINTS
        return VALUES


async def test_no_turn_of_the_loop_makes_more_than_one_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(tmp_path, monkeypatch)
    task = asyncio.create_task(site.agent.run())
    await until(site.agent.running.is_set)
    most, before = 0, site.points
    asked = asyncio.create_task(asyncio.to_thread(read_status, site.state))
    start = before
    while not asked.done():
        await asyncio.sleep(0)
        most, before = max(most, site.points - before), site.points
    status = await asked
    assert site.points - start == DEVICES * POINTS
    assert 0 < most <= PIECE + POINTS
    here = site.agent.snapshot()
    assert [one.id for one in status.nodes] == [one.id for one in here.nodes]
    assert all(one.values == VALUES for one in status.nodes)
    assert len(status.nodes) == DEVICES
    assert status.gateway == "gw-1"
    assert status.outbox is not None
    await stopped(site.agent, task)


async def test_a_client_that_reads_nothing_gets_no_more_made_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(tmp_path, monkeypatch)
    task = asyncio.create_task(site.agent.run())
    await until(site.agent.running.is_set)
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX) as client, short_name(site.state / SOCKET_NAME) as name:
        client.setblocking(False)
        start = site.points
        await loop.sock_connect(client, name)
        made = -1
        while made != site.points or made == start:  # until nothing more is made
            made = site.points
            for _ in range(20):
                await asyncio.sleep(0)
        assert made - start < DEVICES * POINTS
        text = b""
        while data := await loop.sock_recv(client, 1 << 20):
            text += data
    assert len(from_json(text).nodes) == DEVICES
    assert list(json.loads(text))[:4] == ["gateway", "running_ms", "nodes", "counters"]
    await stopped(site.agent, task)
