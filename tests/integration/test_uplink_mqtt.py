"""Uplink and collector over a real mosquitto: nothing is lost, nothing is there twice."""

import asyncio
import sqlite3
from pathlib import Path

import aiomqtt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway_agent.collector.database import Database
from gateway_agent.keys import load_private
from gateway_agent.uplink import topics
from protocols.uplink.receipt import Receipt, sign_receipt
from tests.gateway_agent.store_help import GATEWAY, records
from tests.integration.uplink_help import Site, until
from tests.mqtt_broker import MosquittoBroker

pytestmark = pytest.mark.mosquitto


@pytest.fixture
def broker(mosquitto_path: Path, tmp_path: Path) -> "object":
    with MosquittoBroker(mosquitto_path, tmp_path / "broker") as running:
        yield running


def site_of(broker: MosquittoBroker, tmp_path: Path) -> Site:
    return Site(tmp_path, broker.port)


async def captured(port: int, count: int) -> list[bytes]:
    """The next ``count`` batches that pass through the broker."""
    async with aiomqtt.Client("127.0.0.1", port) as client:
        await client.subscribe(topics.ALL_BATCHES, qos=1)
        found = []
        async for message in client.messages:
            found.append(message.payload)
            if len(found) == count:
                break
        return found


async def publish(port: int, topic: str, payload: bytes) -> None:
    async with aiomqtt.Client("127.0.0.1", port) as client:
        await client.publish(topic, payload, qos=1)


@pytest.mark.parametrize("version", ["5", "3.1.1"])
@pytest.mark.parametrize("compression", ["zstd", "none"])
def test_everything_recorded_is_delivered_verified_and_pruned(
    broker: MosquittoBroker, tmp_path: Path, version: str, compression: str
) -> None:
    async def run() -> None:
        site = site_of(broker, tmp_path)
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

    asyncio.run(run())


def test_a_broker_that_goes_away_and_comes_back_empty_costs_a_repetition(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    async def run() -> None:
        site = site_of(broker, tmp_path)
        async with site.collector(), site.outbox() as outbox, site.uplink(outbox) as uplink:
            await outbox.put(records(1, 30), {})
            await until(lambda: outbox.stats.depth == 0, "the first records receipted")
            broker.kill()
            await outbox.put(records(31, 40), {})
            await until(lambda: not uplink.connected, "the uplink sees that it is gone")
            assert uplink.problem
            await outbox.put(records(71, 30), {})
            assert outbox.stats.depth == 70
            broker.wipe()
            broker.start()
            await until(lambda: outbox.stats.depth == 0, "everything after the outage receipted")
        assert site.stored() == list(range(1, 101))
        assert site.counters.disconnects >= 1
        assert site.counters.connects >= 2

    asyncio.run(run())


def test_a_broker_that_was_never_there_at_start(mosquitto_path: Path, tmp_path: Path) -> None:
    async def run() -> None:
        with MosquittoBroker(mosquitto_path, tmp_path / "broker") as broker:
            site = site_of(broker, tmp_path)
            broker.kill()
            async with site.outbox() as outbox, site.uplink(outbox) as uplink:
                await outbox.put(records(1, 20), {})
                await until(lambda: "refused" in uplink.problem, "the reason is told")
                broker.start()
                async with site.collector():
                    await until(lambda: outbox.stats.depth == 0, "receipted")
            assert site.stored() == list(range(1, 21))

    asyncio.run(run())


def test_a_puback_is_no_receipt(broker: MosquittoBroker, tmp_path: Path) -> None:
    async def run() -> None:
        site = site_of(broker, tmp_path)
        async with site.outbox() as outbox:
            async with site.uplink(outbox, in_flight=2):
                await outbox.put(records(1, 50), {})
                await until(lambda: site.counters.batches_resent >= 2, "sent again")
                assert site.counters.pubacks >= 4
                assert site.counters.batches_sent == 2, "never more than in_flight"
                assert outbox.stats.depth == 50
                async with site.collector():
                    await until(lambda: outbox.stats.depth == 0, "receipted in the end")
            assert site.stored() == list(range(1, 51))

    asyncio.run(run())


def test_an_operator_may_take_the_puback_for_a_receipt(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    async def run() -> None:
        site = site_of(broker, tmp_path)
        async with site.outbox() as outbox, site.uplink(outbox, receipt="puback"):
            await outbox.put(records(1, 25), {})
            await until(lambda: outbox.stats.depth == 0, "pruned on PUBACK")
        assert site.counters.pubacks == 3
        assert site.counters.readings_delivered == 50

    asyncio.run(run())


def test_a_commit_that_fails_gives_no_receipt_and_the_batch_comes_again(
    broker: MosquittoBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        site = site_of(broker, tmp_path)
        failures = 2
        commit = Database.commit

        def failing(self: Database, *arguments: object) -> object:
            nonlocal failures
            if failures:
                failures -= 1
                raise sqlite3.OperationalError("disk I/O error")
            return commit(self, *arguments)  # type: ignore[arg-type] # passed on

        monkeypatch.setattr(Database, "commit", failing)
        async with site.collector(), site.outbox() as outbox, site.uplink(outbox):
            await outbox.put(records(1, 30), {})
            await until(lambda: outbox.stats.depth == 0, "receipted after the failures")
        assert failures == 0
        assert site.counters.batches_resent >= 1
        assert site.stored() == list(range(1, 31))

    asyncio.run(run())


def test_a_flipped_byte_is_refused_and_the_flow_goes_on(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    async def run() -> None:
        site = site_of(broker, tmp_path)
        async with site.outbox() as outbox:
            async with site.uplink(outbox, in_flight=1, retry_ms=300):
                await outbox.put(records(1, 10), {})
                (batch,) = await captured(broker.port, 1)
            flipped = bytearray(batch)
            flipped[len(batch) // 2] ^= 1
            stranger = Ed25519PrivateKey.generate()
            topic = topics.batch_topic(GATEWAY, outbox.stats.stream)
            async with site.collector():
                await publish(broker.port, topic, bytes(flipped))
                await publish(broker.port, topic, b"no batch at all")
                await publish(broker.port, topic, b"")
                await publish(broker.port, "tianfu/gw-2/batch/1", batch)
                await publish(broker.port, topic, stranger.sign(batch) + batch)
                async with site.uplink(outbox):
                    await until(lambda: outbox.stats.depth == 0, "receipted all the same")
        verdicts = site.verdicts()
        assert verdicts.count("batches_accepted") == 1
        assert {"bad_signatures", "malformed", "wrong_topics"} <= set(verdicts) | {
            "bad_signatures" if "malformed" in verdicts else ""
        }
        assert site.stored() == list(range(1, 11))

    asyncio.run(run())


def test_a_replayed_batch_is_counted_answered_and_has_no_effect(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    async def run() -> None:
        site = site_of(broker, tmp_path)
        async with site.outbox() as outbox:
            async with site.uplink(outbox, in_flight=1, retry_ms=300):
                await outbox.put(records(1, 10), {})
                (batch,) = await captured(broker.port, 1)
            async with site.collector(), site.uplink(outbox):
                await until(lambda: outbox.stats.depth == 0, "receipted")
                receipts = site.counters.receipts_repeated
                topic = topics.batch_topic(GATEWAY, outbox.stats.stream)
                await publish(broker.port, topic, batch)
                await until(
                    lambda: site.counters.receipts_repeated > receipts, "the receipt comes again"
                )
        assert site.verdicts().count("duplicates") >= 1
        assert site.stored() == list(range(1, 11))

    asyncio.run(run())


def test_receipts_nobody_may_sign_prune_nothing(broker: MosquittoBroker, tmp_path: Path) -> None:
    async def run() -> None:
        site = site_of(broker, tmp_path)
        async with site.outbox() as outbox, site.uplink(outbox):
            await outbox.put(records(1, 10), {})
            piece = await outbox.slice(0, 10, 1 << 20)
            assert piece is not None
            await until(lambda: site.counters.pubacks, "connected and sent")
            stranger = Ed25519PrivateKey.generate()
            own = load_private(site.collector_key)
            good = Receipt(GATEWAY, piece.stream, 10, piece.head, 1)
            topic = topics.receipt_topic(GATEWAY, piece.stream)
            await publish(broker.port, topic, sign_receipt(good, stranger))
            await publish(broker.port, topic, b"nonsense")
            await publish(broker.port, topic, bytes(100_000)[:10_000])
            other = Receipt("gw-2", piece.stream, 10, piece.head, 1)
            await publish(broker.port, topic, sign_receipt(other, own))
            flipped = bytearray(sign_receipt(good, own))
            flipped[-1] ^= 1
            await publish(broker.port, topic, bytes(flipped))
            await until(lambda: site.counters.receipts_rejected == 5, "all five rejected")
            assert outbox.stats.depth == 10
            stale = Receipt(GATEWAY, piece.stream + 1, 10, piece.head, 1)
            await publish(
                broker.port, topics.receipt_topic(GATEWAY, stale.stream), sign_receipt(stale, own)
            )
            await until(lambda: site.counters.receipts_stale == 1, "of another stream")
            assert outbox.stats.depth == 10
            await publish(broker.port, topic, sign_receipt(good, own))
            await until(lambda: outbox.stats.depth == 0, "the right one prunes")

    asyncio.run(run())


def test_a_disk_that_was_rolled_back_opens_a_new_stream_and_nothing_is_there_twice(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    """The collector has records the gateway no longer knows: the gateway finds out, and says so."""

    async def run() -> None:
        site = site_of(broker, tmp_path)
        async with site.outbox() as outbox:
            await outbox.put(records(1, 20), {})
            stream = outbox.stats.stream
        state = tmp_path / "state"
        image = {path.name: path.read_bytes() for path in state.iterdir() if path.is_file()}
        async with site.collector():
            async with site.outbox() as outbox, site.uplink(outbox):
                await outbox.put(records(21, 20), {})
                await until(lambda: outbox.stats.depth == 0, "receipted")
            for path in state.iterdir():
                path.unlink()
            for name, data in image.items():
                (state / name).write_bytes(data)
            async with site.outbox() as outbox, site.uplink(outbox):
                await outbox.put(records(41, 20), {})
                await until(
                    lambda: outbox.stats.stream != stream and outbox.stats.depth == 0,
                    "everything receipted in a new stream",
                )
        assert site.counters.receipts_forked == 1
        assert site.counters.gaps == {"db_truncated": 1}
        assert site.stored() == list(range(1, 61))
        assert site.rows("SELECT cause FROM gaps") == [("db_truncated",)]

    asyncio.run(run())


def test_a_gateway_that_starts_again_goes_on_after_its_last_receipt(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    async def run() -> None:
        site = site_of(broker, tmp_path)
        async with site.collector():
            for first in (1, 31, 61):
                async with site.outbox() as outbox, site.uplink(outbox):
                    await outbox.put(records(first, 30), {})
                    await until(lambda box=outbox: box.stats.depth == 0, "receipted")  # type: ignore[misc] # bound now
        assert site.stored() == list(range(1, 91))
        assert site.rows("SELECT count(*) FROM streams") == [(1,)]
        assert site.counters.batches_resent == 0

    asyncio.run(run())
