"""Every poll that the configuration promises is a stored value or named in a gap, whatever ends.

Real agent, broker and collector; the oracle is the log of the device (see :mod:`.oracle`).
"""

import asyncio
import signal
import time
from itertools import pairwise
from pathlib import Path

import pytest

from gateway_agent.status import Reconciliation
from hil.site.mosquitto import MosquittoBroker
from tests.unit.gateway_agent.store_help import open_box, records

from .device import boot_ms
from .oracle import check
from .site import PromiseSite, passed, site_of, until

pytestmark = [pytest.mark.mosquitto, pytest.mark.timeout(180)]

PERIOD_MS = 200


async def stop(site: PromiseSite, process: asyncio.subprocess.Process) -> None:
    books = Reconciliation(unaccounted=0, sequence=0, schedule=0, receipts=0, archive=0)
    assert await asyncio.to_thread(site.unaccounted) == books
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 20) == 0


async def test_a_killed_agent_names_every_poll_it_missed(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    """SIGKILL at several moments: before the first value, while one is read, between two polls."""
    async with site_of(broker, tmp_path) as site:
        site.configure([PERIOD_MS, PERIOD_MS])
        async with site.process("collect", "--config", site.collector_toml):
            for values, wait_ms, away_ms in ((0, 0, 700), (5, 0, 50), (9, 130, 2100), (9, 60, 900)):
                async with site.process("run", "--config", site.gateway_toml) as agent:
                    asked = len(site.device.asked)
                    await until(lambda n=asked: len(site.device.asked) > n, "a poll")  # type: ignore[misc] # bound now
                    await until(lambda n=values: len(site.account(1).values) >= n, "values")  # type: ignore[misc] # bound now
                    await passed(wait_ms)
                    agent.kill()
                await passed(away_ms)
            async with site.process("run", "--config", site.gateway_toml) as agent:
                before = len(site.account(2).values)
                await until(lambda: len(site.account(2).values) > before + 5, "values")
                await stop(site, agent)
        for unit in (1, 2):
            account = check(site, unit, PERIOD_MS)
            assert account.missed("gateway_down") >= (700 + 2100 + 900) // PERIOD_MS


async def test_a_device_silent_when_the_agent_comes_back_is_named_too(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    async with site_of(broker, tmp_path) as site:
        site.configure([PERIOD_MS], timeout_ms=50)
        async with site.process("collect", "--config", site.collector_toml):
            async with site.process("run", "--config", site.gateway_toml):
                await until(lambda: len(site.account(1).values) > 4, "values")
                site.device.silent = {1}
                await passed(450)  # some of the silence falls before the death
            await passed(1000)
            async with site.process("run", "--config", site.gateway_toml) as agent:
                # It is named at once, not when the device answers or after a minute of silence.
                await until(lambda: site.account(1).missed("gateway_down") >= 5, "the gap")
                await passed(700)
                site.device.silent = set()
                before = len(site.account(1).values)
                await until(lambda: len(site.account(1).values) > before + 3, "values")
                await stop(site, agent)
        account = check(site, 1, PERIOD_MS)
        assert account.missed("bus_timeout") >= 3


async def test_polls_that_a_busy_bus_left_out_are_named_in_few_records(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    """The bus has time for half of what is configured."""
    async with site_of(broker, tmp_path) as site:
        site.configure([PERIOD_MS, PERIOD_MS])
        site.device.delay_s = {1: 0.19, 2: 0.19}
        async with site.process("collect", "--config", site.collector_toml):
            for _ in range(2):
                async with site.process("run", "--config", site.gateway_toml):
                    before = len(site.account(1).values)
                    await until(lambda n=before: len(site.account(1).values) > n + 8, "values")  # type: ignore[misc] # bound now
            site.device.delay_s = {}
            async with site.process("run", "--config", site.gateway_toml) as agent:
                before = len(site.account(1).values)
                await until(lambda: len(site.account(1).values) > before + 9, "values")
                await stop(site, agent)
        for unit in (1, 2):
            account = check(site, unit, PERIOD_MS)
            busy = [gap for gap in account.gaps if gap.cause == "bus_busy"]
            assert sum(gap.slots or 0 for gap in busy) > 8
            assert len(busy) <= 4  # the two deaths, the stop, and one for a slow machine


async def test_an_agent_that_was_stopped_names_the_polls_as_its_own_fault(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    async with site_of(broker, tmp_path) as site:
        site.configure([PERIOD_MS])
        async with (
            site.process("collect", "--config", site.collector_toml),
            site.process("run", "--config", site.gateway_toml) as agent,
        ):
            await until(lambda: len(site.account(1).values) > 4, "values")
            agent.send_signal(signal.SIGSTOP)
            await passed(2500)
            agent.send_signal(signal.SIGCONT)
            before = len(site.account(1).values)
            await until(lambda: len(site.account(1).values) > before + 9, "values")
            await stop(site, agent)
        account = check(site, 1, PERIOD_MS)
        assert account.missed("gateway_down") >= 10


def in_step(site: PromiseSite, period_ms: int) -> bool:
    """Whether the last polls came one period apart."""
    times = [at_ms for _, at_ms in site.device.asked[-20:]]
    return all(
        abs(after - before - period_ms) <= period_ms / 4 for before, after in pairwise(times)
    )


async def test_a_full_outbox_loses_no_poll_without_a_name(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    """What is read meanwhile waits in memory; once that is full, polls are left out and named."""
    period_ms = 20
    async with site_of(broker, tmp_path) as site:
        site.configure([period_ms], outbox="max_bytes = 1048576")
        box = open_box(tmp_path / "state")  # nearly full, of another device
        while box.stats().file_bytes < 900_000:
            box.append(records(1, 100), {})
        box.close()
        async with site.process("run", "--config", site.gateway_toml) as agent:
            await until(lambda: len(site.device.asked) > 5, "polls")
            await until(site.is_full, "a full outbox", 90)
            asked = len(site.device.asked)
            await passed(1500)
            async with site.process("collect", "--config", site.collector_toml):
                await until(lambda: len(site.device.asked) > asked + 50, "polls again")
                served = len(site.device.log[1].times)
                await until(lambda: len(site.account(1).values) > served, "values")
                # Delivering what had waited makes polls late: of one that is nobody could say which
                # slot was the last.
                await until(lambda: in_step(site, period_ms), "polls in time")
                await stop(site, agent)
        check(site, 1, period_ms)


async def test_every_record_gets_a_time_that_is_right_within_its_bound(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    """Also on a machine whose clock nothing synchronises: receipts bound it.

    The first records are made before the first receipt; a later anchor gives them their time.
    """
    undated = "SELECT count(*) FROM records WHERE time_ms IS NULL"
    async with site_of(broker, tmp_path) as site:
        site.configure([PERIOD_MS])
        async with site.process("run", "--config", site.gateway_toml) as agent:
            await until(lambda: len(site.device.asked) > 5, "polls without a collector")
            async with site.process("collect", "--config", site.collector_toml):
                await until(lambda: len(site.account(1).values) > 12, "values")
                await until(lambda: site.rows(undated) == [(0,)], "times")
                await stop(site, agent)
        offset = time.time_ns() // 1_000_000 - boot_ms()
        for resp_ms, time_ms, unc_ms in site.rows("SELECT resp_ms, time_ms, unc_ms FROM records"):
            assert abs(resp_ms + offset - time_ms) <= unc_ms + 2
            assert unc_ms < 60_000
