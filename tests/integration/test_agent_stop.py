"""The agent ends within 10 s of SIGTERM, whatever else ends or hangs in that moment."""

import signal
import time
from pathlib import Path

import pytest

from hil.site.mosquitto import MosquittoBroker
from tests.promise.site import site_of, until
from tests.unit.gateway_agent.store_help import open_box

pytestmark = pytest.mark.mosquitto
STOP_S = 10.0
#: The uplink refuses every cancellation, and the limit of a stop is shorter, for this test's sake.
REFUSES = """
import asyncio
from functools import partial
from gateway_agent import hard_stop, process
from gateway_agent.uplink.mqtt import Uplink

async def refuse(self):
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass

Uplink.run = refuse
process.HardStop = partial(hard_stop.HardStop, limit_s=4.0)
"""


@pytest.mark.parametrize("turn", range(2))
async def test_broker_and_agent_are_ended_in_one_instant(
    broker: MosquittoBroker, tmp_path: Path, turn: int
) -> None:
    async with site_of(broker, tmp_path) as site:
        site.configure([20])
        await site.collector.start()
        await site.gateway.start()
        await site.stores(3)
        begin = time.monotonic()
        if turn:
            site.gateway.send(signal.SIGTERM)
        broker.kill()
        site.gateway.send(signal.SIGTERM)
        assert await site.gateway.ended(20) == 0, site.gateway.log.read_text()
        assert time.monotonic() - begin < STOP_S


async def test_what_was_served_is_in_the_outbox_though_a_task_refuses_to_end(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    async with site_of(broker, tmp_path) as site:
        site.configure([20])
        site.gateway.patch(REFUSES)
        await site.gateway.start()
        await until(lambda: site.device.log and len(site.device.log[1].times) > 50, "polls")
        begin = time.monotonic()
        site.gateway.send(signal.SIGTERM)
        assert await site.gateway.ended(20) == 1
        assert time.monotonic() - begin < STOP_S
        log = site.gateway.log.read_text()
        assert "the process ends without" in log
        assert "task uplink" in log
        box = open_box(site.state)
        found = box.slice(0, 100_000, 1 << 30)
        box.close()
        assert found is not None
        served = len(site.device.log[1].times)
        assert sum(record.readings for record in found.records) == served
