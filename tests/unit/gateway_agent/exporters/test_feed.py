"""What an exporter is given, and that one that fails holds up no other."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway_agent.store.errors import StoreFull
from gateway_agent.store.writer import OutboxWriter
from gateway_agent.uplink import export_task
from gateway_agent.uplink.exporter_config import ExporterConfig
from gateway_agent.uplink.feed import Feed
from gateway_agent.uplink.trace_log import TraceLog, find_message, find_seq
from protocols.export_record import ExportPoint, SentMessage

from .export_world import DEVICE, context, exporting, hole, sample, until, writer

from tests.unit.gateway_agent.store_help import WALL_MS, StillClock  # isort: skip


class Plain(ExporterConfig, frozen=True, kw_only=True, tag_field="type", tag="plain"):
    """An exporter of a test."""


def feed_of(outbox: OutboxWriter, root: Path, clock: StillClock, **keys: object) -> Feed:
    config = Plain(**{"latency_ms": 0, "batch_records": 4, **keys})  # type: ignore[arg-type] # keys
    now = asyncio.get_running_loop().time
    feed = Feed(config, context(root, clock), outbox, TraceLog(root), now, 1 << 30)
    feed.rewind()
    return feed


async def read(feed: Feed) -> list[int]:
    """The sequence numbers that come without waiting for more."""
    found: list[int] = []
    while (portion := await feed.next(0.1)) is not None:
        found += [record.seq for record in portion.records]
        await feed.delivered(portion, portion.last)
    return found


async def test_records_come_in_order_with_names_units_and_reasons(tmp_path: Path) -> None:
    async with writer(tmp_path) as outbox:
        await outbox.attach(["plain"], ["plain"])
        feed = feed_of(outbox, tmp_path, StillClock())
        await outbox.put([sample(7), sample(8, failed=True), hole(9)], {})
        portion = await feed.next(5)
        assert portion is not None
        one, two, three = portion.records
        assert (one.seq, one.device, one.name, one.role) == (1, DEVICE.id, "hall", "senseair-s8")
        assert (one.wall_ms, one.unc_ms) == (WALL_MS + 7000, 5)
        assert one.points == (
            ExportPoint("co2", "ppm", 7, ""),
            ExportPoint("temperature", "Cel", 0.7, ""),
        )
        assert two.points[1] == ExportPoint("temperature", "", None, "no-value")
        assert three.gap is not None
        assert not three.is_data
        assert portion.is_newest
        await feed.delivered(portion, 3, [SentMessage("m1", (1, 3), "PUBACK")])
        assert feed.behind == 0
        assert find_message(tmp_path, "plain", "m1", 9)[0].seqs == "1,3"
        assert [one.message for one in find_seq(tmp_path, 3, None, 9)] == ["m1"]
        assert find_seq(tmp_path, 2, None, 9) == []


async def test_what_was_not_delivered_comes_again_after_a_rewind(tmp_path: Path) -> None:
    async with writer(tmp_path) as outbox:
        await outbox.attach(["plain"], ["plain"])
        feed = feed_of(outbox, tmp_path, StillClock())
        await outbox.put([sample(number) for number in range(10)], {})
        first, second = await feed.next(), await feed.next()
        assert first is not None
        assert second is not None
        assert (first.first, first.last, second.first) == (1, 4, 5)
        await feed.delivered(first, 2)
        feed.rewind()
        assert await read(feed) == list(range(3, 11))


async def test_a_time_from_the_anchor_of_the_boot_and_none_from_a_boot_without(
    tmp_path: Path,
) -> None:
    clock = StillClock(wall_ms=None)
    async with writer(tmp_path, clock) as outbox:
        await outbox.put([sample(1, None), sample(2, None)], {})
    clock.boot, clock.now = 2, 5000
    async with writer(tmp_path, clock) as outbox:
        await outbox.attach(["plain"], ["plain"])
        feed = feed_of(outbox, tmp_path, clock)
        await outbox.put([sample(3, None)], {})
        assert await read(feed) == []
        assert "clock" in feed.status.problem
        clock.wall_ms = WALL_MS
        portion = await feed.next(5)
        assert portion is not None
        assert [(one.seq, one.wall_ms) for one in portion.records] == [(3, WALL_MS - 5000 + 4)]
        cursor = outbox.cursors["plain"]
        assert (cursor.lost, [loss.cause for loss in cursor.losses]) == (2, ["undated"])


async def test_a_rate_holds_for_records_and_bytes(tmp_path: Path) -> None:
    async with writer(tmp_path) as outbox:
        await outbox.attach(["plain"], ["plain"])
        feed = feed_of(outbox, tmp_path, StillClock(), bytes_per_s=1000)
        begin = asyncio.get_running_loop().time()
        for _ in range(5):
            await feed.spend(500)
        spent = asyncio.get_running_loop().time() - begin
        assert 0.45 <= spent < 5  # 2,500 bytes less a burst of 2,000
        assert feed.status.bytes == 2500


class _Receiver:
    """Takes everything, unless it is told to fail."""

    def __init__(self, fail: Exception | None) -> None:
        self.fail = fail
        self.got: list[int] = []

    async def run(self, feed: Feed) -> None:
        feed.status.connected = True
        while True:
            portion = await feed.next()
            assert portion is not None
            if self.fail is not None:
                raise self.fail
            self.got += [record.seq for record in portion.records]
            await feed.delivered(portion, portion.last)


@pytest.mark.parametrize("error", [OSError("no route"), ValueError("odd"), KeyError("a bug")])
async def test_an_exporter_that_fails_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    good, bad = _Receiver(None), _Receiver(error)
    made = {"good": good, "bad": bad}
    monkeypatch.setattr(export_task, "make_exporter", lambda config, _: made[config.label])
    configs: Sequence[Plain] = [Plain(name="bad", latency_ms=0), Plain(name="good", latency_ms=0)]
    async with writer(tmp_path) as outbox, exporting(outbox, tmp_path, *configs) as exporters:
        await outbox.put([sample(number) for number in range(300)], {})
        await until(lambda: len(good.got) == 300 and not exporters.tasks[1].feed.behind)
        await until(lambda: exporters.tasks[0].feed.status.problem)
        statuses = exporters.status(outbox)
        assert [(one.name, one.behind) for one in statuses] == [("bad", 300), ("good", 0)]
        assert statuses[0].problem
        assert not statuses[0].connected
        bad.fail = None
        await until(lambda: len(bad.got) == 300)
        assert bad.got == good.got == list(range(1, 301))


async def test_an_outbox_without_room_for_a_place_ends_a_session_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver, refusals = _Receiver(None), [StoreFull("no room"), StoreFull("no room")]
    attach, advance = OutboxWriter.attach, OutboxWriter.advance

    async def full_attach(self: OutboxWriter, names: list[str], required: list[str]) -> None:
        if len(refusals) == 2:
            raise refusals.pop()
        await attach(self, names, required)

    async def full_advance(self: OutboxWriter, name: str, stream: int, to: int) -> None:
        if refusals:
            raise refusals.pop()
        await advance(self, name, stream, to)

    monkeypatch.setattr(OutboxWriter, "attach", full_attach)
    monkeypatch.setattr(OutboxWriter, "advance", full_advance)
    monkeypatch.setattr(export_task, "_FULL_RETRY_S", 0.01)
    monkeypatch.setattr(export_task, "make_exporter", lambda *_: receiver)
    async with writer(tmp_path) as outbox, exporting(outbox, tmp_path, Plain(latency_ms=0)) as all_:
        await until(lambda: all_.tasks)
        await outbox.put([sample(number) for number in range(10)], {})
        await until(lambda: all_.tasks[0].feed.behind == 0)
        assert refusals == []
        assert receiver.got == [*range(1, 11), *range(1, 11)]
