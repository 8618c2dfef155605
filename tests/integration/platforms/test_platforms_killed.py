"""Every platform gets what the collector gets, through outages that overlap and `kill -9`."""

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiomqtt
import pytest

from hil.platform.hj212_platform import Hj212Faults, Hj212Platform
from hil.platform.sl651_centre import Sl651Centre
from hil.site.mosquitto import MosquittoBroker
from protocols.uplink.hj212 import parse_data_time
from tests.promise.site import GATEWAY, PromiseSite, passed, site_of, until
from tests.promise.trial import Row, Trial, compare, finish, stop
from tests.unit.gateway_agent.exporters.line_protocol import Database, serving

from . import ends
from .relay import Relay, relay

pytestmark = [pytest.mark.mosquitto, pytest.mark.timeout(300)]

MN: Final = "010000A8900016F000169DC0"
PROFILE: Final = """
title = "quick"
title_zh = "快"
sources = ["this test"]
over_time_s = 1
on_connect = []
sends = ["2051", "2061"]
"""
# A minute has a second, so that a trial has many periods; and the kernel vouches for its clock, so
# that each record has one time for all who get it.
QUICK: Final = """
from gateway_agent import clock
clock._kernel_discipline = lambda: 20
import gateway_agent.uplink.hj212.aggregates as aggregates
import gateway_agent.uplink.station_periods as periods
lengths_of, prepare = aggregates.lengths_of, periods.Periods.__init__
aggregates.lengths_of = lambda sends, minutes: {
    cn: ms // 60 for cn, ms in lengths_of(sends, minutes).items()
}
periods.Periods.__init__ = lambda self, devices, ms: prepare(self, devices, ms // 60)
"""
ROW: Final = Row("platforms", "outages of all platforms, and kill -9", lambda _: asyncio.sleep(0))


@dataclass
class Platforms:
    """The other end of each exporter, and the cables to them."""

    city: Hj212Platform = field(default_factory=Hj212Platform)
    centre: Sl651Centre = field(default_factory=Sl651Centre)
    database: Database = field(default_factory=Database)
    published: dict[str, list[bytes]] = field(default_factory=dict)  # by first level of topic
    relays: dict[str, Relay] = field(default_factory=dict)

    async def read(self, client: aiomqtt.Client) -> None:
        """Keep what the broker of the platforms passes on."""
        async for message in client.messages:
            topic = str(message.topic)
            kind = "ha" if topic.endswith("/state") else topic.partition("/")[0]
            self.published.setdefault(kind, []).append(bytes(message.payload))

    def tables(self, root: Path) -> str:
        """Return the uplinks of the configuration."""
        (root / "quick.toml").write_text(PROFILE, encoding="utf-8")
        port = {name: one.port for name, one in self.relays.items()}
        common = "latency_ms = 50\n"
        broker = f'[uplink.broker]\nhost = "127.0.0.1"\nport = {port["mqtt"]}\n'
        tables = {
            "hj212": f'host = "127.0.0.1"\nport = {port["hj212"]}\nmn = "{MN}"\nminutes = 1\n'
            f'profile = "{root / "quick.toml"}"\nlate_s = 1\n'
            '[uplink.points]\n"d1/count" = "a01001"\n',
            "sl651": f'host = "127.0.0.1"\nport = {port["sl651"]}\nreport_min = 1\n'
            "answer_ms = 1000\n"
            + "".join(
                f'[[uplink.station]]\ndevice = "d{n}"\naddress = "001234567{n}"\n'
                '[[uplink.station.element]]\ncode = "03"\npoint = "count"\n'
                for n in (1, 2)
            ),
            "csv": f'folder = "{root / "files"}"\n',
            "influxdb": f'url = "http://127.0.0.1:{port["influxdb"]}/write?db=x"\n',
            "mqtt-json": f'topic = "json/{{device}}"\n{broker}',
            "thingsboard": broker,
            "sparkplug": f'group = "city"\n{broker}',
            "homeassistant": broker,
        }
        return "".join(
            f'[[uplink]]\ntype = "{kind}"\n{common}{keys}' for kind, keys in tables.items()
        )

    def violations(self, site: PromiseSite, until_ms: int, named: set[int]) -> list[str]:
        """Return what is missing, wrong or there too often at any platform."""
        folder, device = site.root / "files", f"{GATEWAY}.d1"
        records = ends.stored_records(site)
        got = self.published
        return [
            *ends.hj212_periods(self.city, records, until_ms, device),
            *ends.sl651_reports(self.centre, records, until_ms),
            *ends.csv_files(folder, records),
            *ends.influx_points(self.database.lines, records),
            *ends.json_messages(got["json"], records),
            *ends.thingsboard_values([p for p in got["v1"] if b'"ts"' in p], records),
            *ends.sparkplug_values(got["spBv1.0"], records),
            *ends.homeassistant_states(got["ha"], records, named),
        ]


@asynccontextmanager
async def platforms(mosquitto: Path, root: Path) -> AsyncIterator[Platforms]:
    """All platforms, running, each behind a cable."""
    async with AsyncExitStack() as stack:
        made = Platforms()
        made.database = stack.enter_context(serving())
        broker = stack.enter_context(MosquittoBroker(mosquitto, root / "theirs"))
        await made.city.start()
        stack.push_async_callback(made.city.stop)
        await made.centre.start()
        stack.push_async_callback(made.centre.stop)
        client = await stack.enter_async_context(aiomqtt.Client("127.0.0.1", broker.port))
        await client.subscribe("#", qos=1)
        reading = asyncio.create_task(made.read(client))
        stack.callback(reading.cancel)
        for name, port in (
            ("hj212", made.city.port),
            ("sl651", made.centre.port),
            ("influxdb", made.database.port),
            ("mqtt", broker.port),
        ):
            made.relays[name] = await stack.enter_async_context(relay(port))
        yield made


async def _round(trial: Trial, ends_: Platforms) -> None:
    """Cut cables and kill the broker, kill the gateway meanwhile, mend in another order."""
    site, choose = trial.site, trial.random
    # The platform has a period, its answer never comes, and the gateway ends.
    ends_.city.faults = Hj212Faults(deaf=True)
    city = ends_.city
    heard = len(city.table) + city.repeats
    await until(lambda: len(city.table) + city.repeats > heard, "a period at the platform")
    cables = list(ends_.relays.values())
    for one in choose.sample(cables, choose.randrange(1, len(cables) + 1)):
        one.cut()
        await passed(choose.uniform(0, 150))
    is_broker_killed = choose.random() < 0.7
    if is_broker_killed:
        await asyncio.to_thread(site.broker.kill)
    await site.gateway.kill()
    trial.faults += 1
    ends_.city.faults = Hj212Faults(late_s=0.02)
    await passed(choose.uniform(0, 300))
    await site.gateway.start()
    await passed(choose.uniform(0, 1000))
    if is_broker_killed:
        await asyncio.to_thread(site.broker.start)
    for one in choose.sample(cables, len(cables)):
        one.mend()
        await passed(choose.uniform(0, 150))


async def _end(trial: Trial) -> None:
    """Stop gateway and collector, and compare the collector with the device."""
    site = trial.site
    if not trial.is_whole:
        await stop(trial)
        site.collector.send(signal.SIGTERM)
        await site.collector.ended()
        if not compare(trial, ROW):
            return
    # What a gateway misses at its very end it names when it runs again.
    await finish(trial, ROW)


def _named(site: PromiseSite, exporter: str) -> set[int]:
    """Return the records that the gateway names as lost for an exporter."""
    status = site.status()
    assert status is not None
    (found,) = [one for one in status.uplinks if one.name == exporter]
    return {seq for loss in found.losses for seq in range(loss.first, loss.last + 1)}


async def _trial(
    broker: MosquittoBroker, mosquitto: Path, root: Path, seed: str, rounds: int
) -> None:
    choose = random.Random(seed)
    async with site_of(broker, root) as site, platforms(mosquitto, root) as there:
        trial = Trial(site, choose, rounds > 1, 0, 1)
        site.gateway.patch(QUICK)
        site.configure((200, 250))
        text = site.gateway_toml.read_text().replace("[uplink]", "[[uplink]]")
        site.gateway_toml.write_text(text.replace("[outbox]", there.tables(root) + "[outbox]"))
        counter = root / "counter.toml"
        counter.write_text(counter.read_text().replace('unit = "count"', 'unit = "Cel"'))
        await site.collector.start()
        await site.gateway.start()
        await site.stores(1)
        for _ in range(rounds):
            await _round(trial, there)
        now_ms = int(time.time() * 1000)
        until_ms = now_ms // ends.MINUTE_MS * ends.MINUTE_MS

        def arrived() -> bool:
            times = there.city.periods("2051")
            return bool(times) and parse_data_time(max(times)) >= until_ms

        await until(arrived, "the period of the last fault is at the platform")
        await site.stores(2)
        named = _named(site, "homeassistant")
        await _end(trial)
        violations = trial.violations + there.violations(site, until_ms, named)
        assert not violations, "\n".join(violations)
        assert there.city.repeats >= 1


async def test_a_kill_and_outages_at_once(
    broker: MosquittoBroker, mosquitto_path: Path, tmp_path: Path
) -> None:
    await _trial(broker, mosquitto_path, tmp_path, "1", 1)


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(3))
async def test_many_kills_and_outages(
    broker: MosquittoBroker, mosquitto_path: Path, tmp_path: Path, seed: int
) -> None:
    await _trial(broker, mosquitto_path, tmp_path, f"{seed}", 8)
