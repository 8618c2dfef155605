"""Batches and receipts that are wrong, repeated or not committed: nothing of them has an effect."""

import signal
import sqlite3
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway_agent.collector.database import Database
from gateway_agent.collector.receiver import BatchOutcome, BatchReceiver
from gateway_agent.keys import generate_signing_key, load_private
from gateway_agent.uplink import topics
from gateway_agent.uplink.receipts import Effect, ReceiptReader
from hil.site.mosquitto import MosquittoBroker
from protocols.uplink import GENESIS, Anchor, Receipt, build_batch, sign_receipt
from tests.integration.uplink_help import Site, captured, publish
from tests.promise.site import until
from tests.unit.gateway_agent.store_help import GATEWAY, records
from tests.unit.protocols.uplink.made_parts import STAMP, point, record_head

pytestmark = [pytest.mark.mosquitto, pytest.mark.timeout(120)]


async def test_a_commit_that_fails_gives_no_receipt_and_the_batch_comes_again(
    broker: MosquittoBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(tmp_path, broker.port)
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


async def test_a_flipped_byte_is_refused_and_the_flow_goes_on(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    site = Site(tmp_path, broker.port)
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
    assert verdicts.count("bad_signatures") == 1
    assert verdicts.count("wrong_topics") == 1
    assert verdicts.count("malformed") == 3
    assert site.stored() == list(range(1, 11))


async def test_a_message_that_raises_whatever_it_does_ends_no_service(
    broker: MosquittoBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(tmp_path, broker.port)
    receive = BatchReceiver.receive

    def failing(self: BatchReceiver, data: bytes, gateway: str | None = None) -> BatchOutcome:
        if data.startswith(b"raise"):
            raise {b"raise 1": OverflowError, b"raise 2": MemoryError}[data]("injected")
        return receive(self, data, gateway)

    monkeypatch.setattr(BatchReceiver, "receive", failing)
    wide = point("n", "", 2**64 - 1)
    hostile = build_batch(
        gateway=GATEWAY, key_epoch=0, stream=77, first=1, prev=GENESIS,
        anchor=Anchor(bytes(16), 7_201_000, 1_765_432_101_082, 20, 3), compress=False,
        records=[record_head(f"{GATEWAY}.probe", "status", 0, STAMP, 0, []) + wide],
        key=load_private(site.gateway_key),
    )  # fmt: skip
    async with site.collector(), site.outbox() as outbox:
        topic = topics.batch_topic(GATEWAY, 77)
        for message in (b"raise 1", b"raise 2", hostile):
            await publish(broker.port, topic, message)
        async with site.uplink(outbox):
            await outbox.put(records(1, 10), {})
            await until(lambda: outbox.stats.depth == 0, "receipted all the same")
    assert site.stored() == list(range(1, 11))
    ((reason,),) = site.rows("SELECT reason FROM refused")
    assert str(reason).startswith("v of n: ")


async def test_a_key_the_collector_does_not_know_costs_nothing_once_it_does(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    site = Site(tmp_path, broker.port)
    async with site.outbox() as outbox:
        async with site.collector():
            site.gateway_key = tmp_path / "new.pem"
            generate_signing_key(site.gateway_key)
            async with site.uplink(outbox, retry_ms=300):
                await outbox.put(records(1, 30), {})
                await until(lambda: site.verdicts().count("unknown_keys") >= 3, "refused")
        assert set(site.verdicts()) == {"unknown_keys"}
        assert outbox.stats.depth == 30
        assert site.counters.records_delivered == 0
        async with site.collector(), site.uplink(outbox):
            await until(lambda: outbox.stats.depth == 0, "receipted once the key is known")
    assert site.stored() == list(range(1, 31))


async def test_a_replayed_batch_is_counted_answered_and_has_no_effect(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    site = Site(tmp_path, broker.port)
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


async def test_receipts_that_are_not_the_collectors_prune_nothing(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    site = Site(tmp_path, broker.port)
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
        # From a broker that delivers what was not subscribed to:
        reader = ReceiptReader(GATEWAY, own.public_key(), outbox, site.counters, time.monotonic)
        topic_of_other = topics.receipt_topic("gw-2", piece.stream)
        assert await reader.take(topic_of_other, sign_receipt(other, own), True) is Effect.NOTHING
        assert site.counters.receipts_rejected == 6
        assert outbox.stats.depth == 10
        stale = Receipt(GATEWAY, piece.stream + 1, 10, piece.head, 1)
        await publish(
            broker.port, topics.receipt_topic(GATEWAY, stale.stream), sign_receipt(stale, own)
        )
        await until(lambda: site.counters.receipts_stale == 1, "of another stream")
        assert outbox.stats.depth == 10
        await publish(broker.port, topic, sign_receipt(good, own))
        await until(lambda: outbox.stats.depth == 0, "the right one prunes")


@pytest.mark.mosquitto
async def test_receipts_that_the_broker_refuses_stop_no_batch(
    mosquitto_path: Path, tmp_path: Path
) -> None:
    """One gateway's topic that is missing in an ACL would take the collector from all others."""
    acl = tmp_path / "acl"
    acl.write_text("topic read #\ntopic write tianfu/+/batch/#\n")
    extra = f"acl_file {acl}\n"
    with MosquittoBroker(mosquitto_path, tmp_path / "broker", extra) as broker:
        site = Site(tmp_path, broker.port)
        async with (
            site.outbox() as outbox,
            site.collector() as service,
            site.uplink(outbox, retry_ms=300),
        ):
            await outbox.put(records(1, 30), {})
            # Without a receipt a gateway sends its first batch only, again and again.
            await until(lambda: len(site.outcomes) >= 3, "batches are taken all the same")
            (alarm,) = service.snapshot().alarms
            assert f"{GATEWAY}: gets no receipts: the broker refused tianfu/{GATEWAY}/" in alarm
            assert service.snapshot().connected
            assert outbox.stats.depth == 30
            acl.write_text("topic readwrite #\n")
            broker.send_signal(signal.SIGHUP)
            await until(lambda: outbox.stats.depth == 0, "receipts, now that they are allowed")
            assert service.snapshot().alarms == []
