"""What a message on a receipt topic changes, on a real outbox and without a broker."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway_agent.counters import Counters
from gateway_agent.store.errors import StoreFull
from gateway_agent.store.outbox import Outbox
from gateway_agent.store.writer import OutboxWriter
from gateway_agent.uplink.receipts import Effect, ReceiptReader
from gateway_agent.uplink.topics import receipt_topic
from protocols.uplink.receipt import Receipt, sign_receipt

from .store_help import GATEWAY, StillClock, chain, open_box, records

SOME = records(1, 5)
KEY = Ed25519PrivateKey.generate()


class Gateway:
    """An outbox with five records, and what reads its receipts."""

    def __init__(self, directory: Path) -> None:
        self.counters = Counters()
        self.outbox = OutboxWriter(open_box(directory, StillClock(), self.counters))
        self.reader = ReceiptReader(GATEWAY, KEY.public_key(), self.outbox, self.counters)

    def receipt(self, to: int, stream: int | None = None) -> Receipt:
        """The right receipt for records 1 to ``to``."""
        head = chain(bytes(32), [record.data for record in SOME[:to]])
        return Receipt(GATEWAY, stream or self.outbox.stats.stream, to, head, 1)

    async def take(self, receipt: Receipt, key: Ed25519PrivateKey = KEY) -> Effect:
        topic = receipt_topic(receipt.gateway, receipt.stream)
        return await self.reader.take(topic, sign_receipt(receipt, key))


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    found = Gateway(tmp_path)
    found.outbox.start()
    await found.outbox.put(SOME, {})
    yield found
    await found.outbox.close()


async def test_a_receipt_prunes_once(gateway: Gateway) -> None:
    assert await gateway.take(gateway.receipt(3)) is Effect.PRUNED
    assert await gateway.take(gateway.receipt(3)) is Effect.NOTHING
    assert gateway.outbox.stats.depth == 2
    assert (gateway.counters.receipts, gateway.counters.receipts_repeated) == (1, 1)


async def test_a_receipt_of_a_stream_that_is_gone_is_stale(gateway: Gateway) -> None:
    assert await gateway.take(gateway.receipt(3, stream=7)) is Effect.NOTHING
    assert gateway.counters.receipts_stale == 1


async def test_receipts_that_are_not_the_collectors_are_rejected(gateway: Gateway) -> None:
    good = gateway.receipt(3)
    topic = receipt_topic(GATEWAY, good.stream)
    effects = [
        await gateway.take(good, Ed25519PrivateKey.generate()),
        await gateway.take(replace(good, gateway="gw-2")),
        await gateway.reader.take(topic, b"nonsense"),
        await gateway.reader.take(topic, bytes(513)),
        await gateway.reader.take(receipt_topic(GATEWAY, 7), sign_receipt(good, KEY)),
    ]
    assert effects == [Effect.NOTHING] * 5
    assert gateway.counters.receipts_rejected == 5
    assert gateway.outbox.stats.depth == 5


@pytest.mark.parametrize("case", ["ahead", "another head"])
async def test_a_receipt_that_does_not_fit_opens_a_new_stream(gateway: Gateway, case: str) -> None:
    before = gateway.outbox.stats.stream
    good = gateway.receipt(5)
    wrong = replace(good, contiguous_to=9) if case == "ahead" else replace(good, head=bytes(32))
    assert await gateway.take(wrong) is Effect.NEW_STREAM
    assert gateway.outbox.stats.stream != before
    assert gateway.outbox.stats.depth == 6, "all five records and a gap record"
    assert gateway.counters.receipts_forked == 1


async def test_a_receipt_that_finds_no_space_is_applied_when_it_comes_again(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Outbox, *_: object) -> object:
        raise StoreFull("no room")

    with monkeypatch.context() as patch:
        patch.setattr(Outbox, "release", full)
        assert await gateway.take(gateway.receipt(3)) is Effect.NOTHING
    assert gateway.outbox.stats.depth == 5
    assert await gateway.take(gateway.receipt(3)) is Effect.PRUNED
