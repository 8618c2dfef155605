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
from gateway_agent.uplink.receipts import UNTIMED_ANSWERS, Effect, ReceiptReader
from gateway_agent.uplink.topics import receipt_topic
from protocols.uplink import decode_record
from protocols.uplink.receipt import Receipt, sign_receipt

from .store_help import GATEWAY, StillClock, chain, open_box, records

SOME = records(1, 5)
KEY = Ed25519PrivateKey.generate()


class Gateway:
    """An outbox with five records, and what reads its receipts."""

    def __init__(self, directory: Path) -> None:
        self.now = 1000.0
        self.counters = Counters()
        self.outbox = OutboxWriter(open_box(directory, StillClock(), self.counters))
        self.reader = ReceiptReader(
            GATEWAY, KEY.public_key(), self.outbox, self.counters, lambda: self.now
        )

    def receipt(self, to: int, stream: int | None = None) -> Receipt:
        """The right receipt for records 1 to ``to``."""
        head = chain(bytes(32), [record.data for record in SOME[:to]])
        return Receipt(GATEWAY, stream or self.outbox.stats.stream, to, head, 1)

    @property
    def alarms(self) -> list[str]:
        return self.reader.alarms

    async def take(
        self, receipt: Receipt, key: Ed25519PrivateKey = KEY, live: bool = True
    ) -> Effect:
        topic = receipt_topic(receipt.gateway, receipt.stream)
        return await self.reader.take(topic, sign_receipt(receipt, key), live)


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    found = Gateway(tmp_path)
    found.outbox.start()
    await found.outbox.put(SOME, {})
    yield found
    await found.outbox.close()


async def test_a_receipt_prunes_once(gateway: Gateway) -> None:
    assert await gateway.take(gateway.receipt(3)) is Effect.PRUNED
    assert await gateway.take(gateway.receipt(3)) is Effect.REPEATED
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
        await gateway.reader.take(topic, b"nonsense", True),
        await gateway.reader.take(topic, bytes(513), True),
        await gateway.reader.take(receipt_topic(GATEWAY, 7), sign_receipt(good, KEY), True),
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


async def gaps_of(gateway: Gateway) -> list[tuple[str, int | None, int | None]]:
    piece = await gateway.outbox.slice(0, 100, 1 << 20)
    assert piece is not None
    decoded = [decode_record(record.data) for record in piece.records]
    return [(item.gap.cause, item.gap.first, item.gap.last) for item in decoded if item.gap]


async def test_a_collector_that_went_back_costs_a_gap_of_exactly_what_it_lost(
    gateway: Gateway,
) -> None:
    stream = gateway.outbox.stats.stream
    await gateway.take(replace(gateway.receipt(4), server_ms=100))
    back = gateway.receipt(1)
    assert await gateway.take(replace(back, server_ms=200)) is Effect.NOTHING
    assert gateway.alarms == []
    assert await gateway.take(replace(back, server_ms=201)) is Effect.NEW_STREAM
    assert gateway.outbox.stats.stream != stream
    assert await gaps_of(gateway) == [("db_truncated", 2, 4)]
    assert gateway.outbox.stats.depth == 2, "the record that waited, and the gap"
    assert gateway.counters.receipts_behind == 2
    (alarm,) = gateway.alarms
    assert f"stream {stream}" in alarm
    assert "records 2 to 4 are missing" in alarm


async def test_a_collector_that_lost_everything_costs_a_gap_of_everything(
    gateway: Gateway,
) -> None:
    await gateway.take(replace(gateway.receipt(5), server_ms=100))
    lost = replace(gateway.receipt(0), head=bytes(32))
    await gateway.take(replace(lost, server_ms=200))
    assert await gateway.take(replace(lost, server_ms=300)) is Effect.NEW_STREAM
    assert await gaps_of(gateway) == [("db_truncated", 1, 5)]


@pytest.mark.parametrize("case", ["retained", "signed before", "the same again"])
async def test_old_receipts_prove_no_loss(gateway: Gateway, case: str) -> None:
    """A broker may have kept them, or play them again."""
    await gateway.take(replace(gateway.receipt(4), server_ms=100))
    for number in range(UNTIMED_ANSWERS + 5):
        when = {"retained": 200 + number, "signed before": 50 + number % 10}.get(case, 200)
        old = replace(gateway.receipt(1), server_ms=when)
        assert await gateway.take(old, live=case != "retained") is Effect.NOTHING
    assert gateway.alarms == []
    assert await gaps_of(gateway) == []


async def test_a_receipt_that_fits_ends_the_suspicion(gateway: Gateway) -> None:
    """Two collectors with one key, one of them behind, are no loss."""
    await gateway.take(replace(gateway.receipt(4), server_ms=100))
    for when in range(200, 300, 2):
        assert await gateway.take(replace(gateway.receipt(1), server_ms=when)) is Effect.NOTHING
        assert await gateway.take(replace(gateway.receipt(4), server_ms=when)) is Effect.REPEATED
    assert await gaps_of(gateway) == []


async def test_a_collector_with_its_clock_set_back_too_is_found_later(gateway: Gateway) -> None:
    await gateway.take(replace(gateway.receipt(4), server_ms=1_000_000))
    effects = [
        await gateway.take(replace(gateway.receipt(1), server_ms=500 + number))
        for number in range(UNTIMED_ANSWERS)
    ]
    assert effects == [Effect.NOTHING] * (UNTIMED_ANSWERS - 1) + [Effect.NEW_STREAM]
    assert await gaps_of(gateway) == [("db_truncated", 2, 4)]


async def test_a_loss_that_finds_no_space_is_named_when_there_is_some(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StoreFull("no room")

    await gateway.take(replace(gateway.receipt(4), server_ms=100))
    await gateway.take(replace(gateway.receipt(1), server_ms=200))
    with monkeypatch.context() as patch:
        patch.setattr(Outbox, "rebuild", full)
        assert await gateway.take(replace(gateway.receipt(1), server_ms=300)) is Effect.NOTHING
    assert len(gateway.alarms) == 1
    assert await gateway.take(replace(gateway.receipt(1), server_ms=400)) is Effect.NEW_STREAM
    assert await gaps_of(gateway) == [("db_truncated", 2, 4)]
    assert len(gateway.alarms) == 1


async def test_a_wrong_key_is_a_line_a_minute_and_a_problem_until_a_good_receipt(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    stranger = Ed25519PrivateKey.generate()
    for _ in range(90):  # a collector answers each batch, and batches are sent again
        await gateway.take(gateway.receipt(3), stranger)
        gateway.now += 1
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert "is uplink.collector_key the key of this collector?" in lines[0]
    assert "59 more were rejected before it" in lines[1]
    assert gateway.counters.receipts_rejected == 90
    assert gateway.reader.problem.startswith("kid: expected ")
    assert await gateway.take(gateway.receipt(3)) is Effect.PRUNED
    assert gateway.reader.problem == ""
