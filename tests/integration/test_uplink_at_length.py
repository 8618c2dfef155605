"""Overload, a broker's return and pacing, with real processes and counted outside of them.

The same is tried in virtual time in tests/unit/gateway_agent/test_flight_in_time.py. Here the
machine's speed decides what is too much, so one run is compared with another of the same minutes.
"""

import asyncio
import contextlib
import sqlite3
import statistics
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway_agent.keys import load_public
from hil.site.mosquitto import MosquittoBroker
from tests.bench.delivered import Load, Running, Site, running_site, write_site
from tests.bench.servers import broker_of, modbus_servers
from tests.integration.wire_tap import WireTap
from tests.promise.site import until

pytestmark = [pytest.mark.exhaustive, pytest.mark.mosquitto, pytest.mark.timeout(900)]
SERVERS = 4
PERIOD_MS = 250


@contextlib.asynccontextmanager
async def site_of(
    folder: Path, load: Load, broker: MosquittoBroker, buses: int, outbox: str = ""
) -> AsyncIterator[tuple[Running, WireTap]]:
    """Gateway and collector, running, with a tap on the gateway's wire."""
    with modbus_servers(SERVERS, load.registers, on_second_core=False) as ports:
        site = write_site(folder, load, (ports * buses)[:buses], broker.port)
        tap = WireTap(broker.port, load_public(site.collector_key))
        async with tap.running():
            text = site.gateway.read_text()
            assert text.count(f"port = {broker.port}\n") == 1
            text = text.replace(f"port = {broker.port}\n", f"port = {tap.port}\n")
            site.gateway.write_text(text.replace("[outbox]\n", f"[outbox]\n{outbox}"))
            with running_site(site) as processes:
                await until(site.stored, "the first reading is stored")
                yield processes, tap


async def delivered(folder: Path, units: int, seconds: float) -> float:
    """Readings stored in a second, of a load of 32 buses with so many devices each."""
    with broker_of(folder) as broker:
        load = Load(10, units, PERIOD_MS)
        async with site_of(folder, load, broker, 32) as (processes, _):
            site = processes.site
            await until(lambda: site.devices() == 32 * units, "each device has come", 60)
            await asyncio.sleep(3)
            before, recorded = site.stored(), site.recorded()
            await asyncio.sleep(seconds)
            # What waited from before cannot go on: it counts if as much was recorded meanwhile.
            return min(site.stored() - before, site.recorded() - recorded) / seconds


async def test_an_overload_costs_nothing_of_what_can_be_delivered(tmp_path: Path) -> None:
    """More than is possible, and twice of that, in turn."""
    once: list[float] = []
    twice: list[float] = []
    for turn in range(3):
        for units, found in ((75, once), (150, twice)):
            folder = tmp_path / f"{turn}-{units}"
            folder.mkdir()
            found.append(await delivered(folder, units, 20))
    assert statistics.median(twice) >= 0.95 * statistics.median(once), (once, twice)


def accounts(site: Site) -> list[tuple[str, int, int, int]]:
    """Of each device: its records and the slots that gaps name, its first and last time."""
    with contextlib.closing(sqlite3.connect(site.folder / "collector.db")) as connection:
        return connection.execute(
            "SELECT device, count(*) + (SELECT coalesce(sum(slots), 0) FROM gaps"
            " WHERE gaps.device = records.device), min(resp_ms), max(resp_ms)"
            " FROM records WHERE kind = 'profile' GROUP BY device"
        ).fetchall()


async def test_what_an_overload_leaves_no_room_for_is_named(tmp_path: Path) -> None:
    """The smallest outbox is full at once; each poll that was promised is a record or in a gap."""
    load = Load(10, 240, PERIOD_MS)
    with broker_of(tmp_path) as broker:
        small = f"max_bytes = {1 << 20}\n"
        async with site_of(tmp_path, load, broker, 8, small) as (processes, tap):
            await asyncio.sleep(30)
            broker.kill()  # nothing is delivered at all
            await asyncio.sleep(10)
            broker.start()
            await asyncio.sleep(20)
            processes.gateway.terminate()
            await until(lambda: processes.gateway.poll() is not None, "the gateway ends")
            await asyncio.sleep(3)
        assert tap.repeated() == 0
        with contextlib.closing(sqlite3.connect(tmp_path / "collector.db")) as connection:
            causes = {row[0] for row in connection.execute("SELECT DISTINCT cause FROM gaps")}
        assert "outbox_full" in causes
        assert causes <= {"outbox_full", "bus_busy", "gateway_down"}
        devices = accounts(processes.site)
        assert len(devices) == 8 * 240
        for device, slots, first_ms, last_ms in devices:
            promised = (last_ms - first_ms) / PERIOD_MS + 1
            # A first or a last poll may be late by as much as the bus is busy.
            assert slots == pytest.approx(promised, abs=12), device


async def test_all_is_stored_within_5_s_of_a_broker_s_return_and_nothing_twice(
    tmp_path: Path,
) -> None:
    load = Load(10, 25, 1000)
    with broker_of(tmp_path) as broker:
        async with site_of(tmp_path, load, broker, SERVERS) as (processes, tap):
            site = processes.site
            for away_s in (5, 30):
                await asyncio.sleep(5)
                broker.kill()
                await asyncio.sleep(away_s)
                broker.start()
                begin = asyncio.get_running_loop().time()
                waiting = site.recorded()
                await until(lambda waiting=waiting: site.stored() >= waiting, "all stored", 60)  # type: ignore[misc] # bound now
                assert asyncio.get_running_loop().time() - begin < 5
            await asyncio.sleep(3)
        assert tap.connections >= 3
        assert tap.repeated() == 0


async def test_the_age_of_readings_does_not_drift(tmp_path: Path) -> None:
    """Three minutes of a thousand readings a second with the shortest latency."""
    load = Load(10, 25, 1000, latency="low")
    with broker_of(tmp_path) as broker:
        async with site_of(tmp_path, load, broker, SERVERS) as (_, tap):
            await asyncio.sleep(190)
        ages = tap.ages_ms()
        begin = ages[0][0] + 5000
        windows: dict[int, list[int]] = {}
        for now_ms, age in ages:
            if now_ms >= begin:
                windows.setdefault((now_ms - begin) // 30_000, []).append(age)
        medians = [statistics.median(found) for found in list(windows.values())[:6]]
        assert len(medians) == 6
        # Timed from the end of the batch before, it rose to a second and fell again in 8 minutes.
        assert max(medians) - min(medians) <= 20, medians
        assert max(medians) <= 120, medians
        assert tap.repeated() == 0
