"""Uplink and collector over a real mosquitto that comes and goes: nothing is lost or repeated."""

import asyncio
import sqlite3
from pathlib import Path

import aiomqtt
import pytest

from gateway_agent.collector.database import Database
from gateway_agent.store.errors import StoreFull
from gateway_agent.store.outbox import Outbox
from gateway_agent.store.pruning import Pruned
from hil.site.mosquitto import MosquittoBroker
from tests.integration.uplink_help import QuickTime, Site
from tests.promise.site import until
from tests.unit.gateway_agent.store_help import GATEWAY, records

pytestmark = [pytest.mark.mosquitto, pytest.mark.timeout(120)]


@pytest.mark.parametrize("version", ["5", "3.1.1"])
@pytest.mark.parametrize("compression", ["zstd", "none"])
async def test_everything_recorded_is_delivered_verified_and_pruned(
    broker: MosquittoBroker, tmp_path: Path, version: str, compression: str
) -> None:
    site = Site(tmp_path, broker.port)
    async with (
        site.collector(version=version),
        site.outbox() as outbox,
        site.uplink(outbox, version=version, compression=compression),
    ):
        for first in range(1, 101, 4):
            await outbox.put(records(first, 4), {})
        await until(lambda: outbox.stats.depth == 0, "every record receipted")
    counters = site.counters
    assert site.stored() == list(range(1, 101))
    assert counters.readings_recorded == counters.readings_delivered == 200
    assert counters.records_recorded == counters.records_delivered == 100
    assert counters.receipts_rejected == counters.receipts_forked == 0
    assert set(site.verdicts()) == {"batches_accepted"}


async def test_a_broker_that_goes_away_for_a_minute_and_comes_back_empty_costs_a_repetition(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    site = Site(tmp_path, broker.port)
    time = QuickTime()  # of the uplink: its waits between attempts pass at once
    async with site.collector(), site.outbox() as outbox, site.uplink(outbox, time) as uplink:
        await outbox.put(records(1, 30), {})
        await until(lambda: outbox.stats.depth == 0, "the first records receipted")
        broker.kill()
        await outbox.put(records(31, 40), {})
        gone = time.now()
        await until(lambda: not uplink.connected, "the uplink sees that it is gone")
        await outbox.put(records(71, 30), {})
        await until(lambda: time.now() - gone > 60, "a minute of attempts")
        assert time.sleeps >= 6  # doubling from half a second, they do not crowd
        assert uplink.problem
        assert not uplink.connected
        assert outbox.stats.depth == 70
        broker.wipe()
        broker.start()
        await until(lambda: outbox.stats.depth == 0, "everything after the outage receipted")
    assert site.stored() == list(range(1, 101))
    assert site.counters.disconnects >= 1
    assert site.counters.connects >= 2


async def test_a_new_connection_begins_after_the_last_receipt_and_does_not_wait_for_one(
    broker: MosquittoBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(tmp_path, broker.port)
    commit = Database.commit

    tries = 0

    def failing(self: Database, *arguments: object) -> object:
        nonlocal tries
        tries += 1
        raise sqlite3.OperationalError("not now")

    monkeypatch.setattr(Database, "commit", failing)
    async with (
        site.collector(),
        site.outbox() as outbox,
        site.uplink(outbox, retry_ms=3_600_000, in_flight=3),
    ):
        await outbox.put(records(1, 30), {})
        await until(lambda: site.counters.pubacks == 1 and tries, "seen")
        monkeypatch.setattr(Database, "commit", commit)
        # A second client of the same name makes the broker end the first connection.
        async with aiomqtt.Client(
            "127.0.0.1", broker.port, identifier=f"tianfu-{GATEWAY}"
        ) as other:
            await until(lambda: site.counters.disconnects == 1, "the uplink is thrown out")
            assert other.identifier
        await until(lambda: outbox.stats.depth == 0, "sent again at once and receipted")
    assert site.stored() == list(range(1, 31))


async def test_a_retained_receipt_spares_sending_again(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    site = Site(tmp_path, broker.port)
    async with site.outbox() as outbox:
        await outbox.put(records(1, 20), {})
    image = site.disk_image()
    async with site.collector(), site.outbox() as outbox, site.uplink(outbox):
        await until(lambda: outbox.stats.depth == 0, "receipted")
    site.restore_disk(image)
    async with site.outbox() as outbox, site.uplink(outbox):
        await until(lambda: outbox.stats.depth == 0, "receipted without a collector")


async def test_a_broker_that_was_never_there_at_start(mosquitto_path: Path, tmp_path: Path) -> None:
    with MosquittoBroker(mosquitto_path, tmp_path / "broker") as broker:
        site = Site(tmp_path, broker.port)
        broker.kill()
        async with site.outbox() as outbox, site.uplink(outbox) as uplink:
            await outbox.put(records(1, 20), {})
            await until(lambda: "refused" in uplink.problem, "the reason is shown")
            broker.start()
            async with site.collector():
                await until(lambda: outbox.stats.depth == 0, "receipted")
        assert site.stored() == list(range(1, 21))


@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_a_puback_is_no_receipt(
    broker: MosquittoBroker, tmp_path: Path, version: str
) -> None:
    site = Site(tmp_path, broker.port)
    async with site.outbox() as outbox:
        async with site.uplink(outbox, in_flight=2, version=version):
            await outbox.put(records(1, 50), {})
            await until(lambda: site.counters.batches_resent >= 2, "sent again")
            assert site.counters.pubacks >= 3
            assert site.counters.batches_sent == 1, "one goes alone until there is a receipt"
            assert outbox.stats.depth == 50
            async with site.collector():
                await until(lambda: outbox.stats.depth == 0, "receipted in the end")
        assert site.stored() == list(range(1, 51))


async def test_an_operator_may_take_the_puback_for_a_receipt(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    site = Site(tmp_path, broker.port)
    async with site.outbox() as outbox, site.uplink(outbox, receipt="puback"):
        await outbox.put(records(1, 25), {})
        await until(lambda: outbox.stats.depth == 0, "pruned on PUBACK")
    assert site.counters.pubacks == 3
    assert site.counters.readings_delivered == 50


async def test_a_puback_that_finds_no_space_to_prune_is_made_good_by_the_next(
    broker: MosquittoBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = Outbox.release
    refusals = 1

    def full_once(self: Outbox, stream: int, to: int, head: bytes) -> Pruned:
        nonlocal refusals
        if refusals:
            refusals -= 1
            raise StoreFull("no room")
        return release(self, stream, to, head)

    monkeypatch.setattr(Outbox, "release", full_once)
    site = Site(tmp_path, broker.port)
    async with site.outbox() as outbox, site.uplink(outbox, receipt="puback"):
        await outbox.put(records(1, 25), {})
        await until(lambda: outbox.stats.depth == 0, "pruned on a later PUBACK")
    assert refusals == 0
    assert site.counters.pubacks == 3
    assert site.counters.records_delivered == 25


async def test_two_gateways_with_one_name_do_not_throw_each_other_out_for_ever(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    """A copied disk: the broker keeps the newer connection of two clients with one name."""
    first, second = Site(tmp_path / "a", broker.port), Site(tmp_path / "b", broker.port)
    async with (
        first.outbox() as outbox,
        second.outbox() as other,
        first.uplink(outbox) as uplink,
        second.uplink(other) as rival,
    ):
        ends = "connections in a row ended within 5 s"
        await until(lambda: ends in uplink.problem + rival.problem, "a reason", 60)
        count = first.counters.connects + second.counters.connects
        named = uplink if ends in uplink.problem else rival
        assert "expected one gateway with the id gw-1" in named.problem
        assert "give each its own gateway.id and key" in named.problem
        await asyncio.sleep(4)  # who saw it waits 5 to 10 s; the other one stays
        assert first.counters.connects + second.counters.connects <= count + 2
        assert uplink.connected or rival.connected


async def test_the_log_names_the_end_of_a_failure_once(
    broker: MosquittoBroker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site(tmp_path, broker.port)
    async with site.outbox() as outbox, site.uplink(outbox, QuickTime()) as uplink:
        await until(lambda: uplink.connected, "connected")
        assert not caplog.messages
        broker.kill()
        await until(lambda: caplog.messages, "a line about the failure")
        broker.start()
        end = f"uplink to 127.0.0.1:{broker.port} works again"
        await until(lambda: end in caplog.messages, "a line about its end")
    assert caplog.messages.count(end) == 1
    (record,) = (record for record in caplog.records if record.message == end)
    assert record.levelname == "WARNING"  # the agent's default level
