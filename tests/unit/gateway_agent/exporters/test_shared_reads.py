"""Exporters at the same place read the outbox once, and get the records of their devices."""

import asyncio
from pathlib import Path

import pytest

from gateway_agent.store.window import Slice
from gateway_agent.store.writer import OutboxWriter
from gateway_agent.uplink.exporter_config import ExporterConfig
from gateway_agent.uplink.feed import Feed
from gateway_agent.uplink.shared_reads import SharedReads
from gateway_agent.uplink.trace_log import TraceLog
from protocols.export_record import DeviceInfo
from protocols.uplink import Gap, ProfileTemplate, Record, Stamp, gap_record
from tests.unit.gateway_agent.store_help import GATEWAY, WALL_MS, StillClock

from .export_world import context, writer

# The id of one is the beginning of another's.
DEVICES = [DeviceInfo(f"{GATEWAY}.n{n}", f"n{n}", "roof", "air", 4000) for n in (1, 2, 12)]


class OfOne(ExporterConfig, frozen=True, kw_only=True, tag_field="type", tag="of-one"):
    """An exporter of one device."""

    device: str

    @property
    def only(self) -> frozenset[str]:
        return frozenset((self.device,))


def records(device: DeviceInfo, seconds: range, wall_ms: int | None = WALL_MS) -> list[Record]:
    """Polls of one device, and a gap at the end."""
    template = ProfileTemplate(device.id, [("co2", "ppm", 0)])
    found = []
    for second in seconds:
        wall = None if wall_ms is None else wall_ms + 1000 * second
        found.append(template.record([second], Stamp(1, 2, wall, 5, 0 if wall is None else 3)))
    end = Stamp(1, 2, WALL_MS + 1000 * seconds.stop, 5, 3)
    return [*found, gap_record(device.id, Gap("bus_timeout", None, None, None, "silent"), end)]


def feeds(outbox: OutboxWriter, root: Path, clock: StillClock, batch: int) -> list[Feed]:
    now = asyncio.get_running_loop().time
    reads, traces = SharedReads(outbox, now), TraceLog(root)
    of = context(root, clock, devices=DEVICES)
    found = []
    for device in DEVICES:
        config = OfOne(name=device.name, device=device.name, latency_ms=0, batch_records=batch)
        found.append(Feed(config, of, outbox, traces, now, 1 << 30, reads))
    return found


async def drained(feed: Feed) -> list[tuple[str, int]]:
    feed.rewind()
    found: list[tuple[str, int]] = []
    while (portion := await feed.next(0.1)) is not None:
        assert len(portion.records) <= feed.config.batch_records
        found += [(record.name, record.seq) for record in portion.records]
        await feed.delivered(portion, portion.last)
    return found


@pytest.mark.parametrize("batch", [1000, 7])
async def test_each_gets_its_own_and_all_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    """Ten commits of three devices in turn: of each, ten polls and a gap."""
    reads: list[int] = []
    read = OutboxWriter.kept_slice

    async def counted(
        self: OutboxWriter, after: int, max_records: int, max_bytes: int
    ) -> Slice | None:
        reads.append(after)
        return await read(self, after, max_records, max_bytes)

    monkeypatch.setattr(OutboxWriter, "kept_slice", counted)
    clock = StillClock()
    async with writer(tmp_path, clock) as outbox:
        names = [device.name for device in DEVICES]
        await outbox.attach(names, names)
        for turn in range(10):
            for device in DEVICES:
                await outbox.put(records(device, range(10 * turn, 10 * turn + 10)), {})
        found = await asyncio.gather(*map(drained, feeds(outbox, tmp_path, clock, batch)))
        assert [outbox.cursors[name].to for name in names] == [330] * 3
        assert not any(outbox.cursors[name].lost for name in names)
    for at, device in enumerate(DEVICES):
        seqs = [33 * turn + 11 * at + one for turn in range(10) for one in range(1, 12)]
        assert found[at] == [(device.name, seq) for seq in seqs]
    assert reads == [0]  # 330 records are one piece


async def test_only_its_own_without_a_time_hold_an_exporter_up(tmp_path: Path) -> None:
    """Of an earlier boot without a clock: the others' are passed, its own are lost."""
    first = StillClock(boot=1, wall_ms=None)
    names = [device.name for device in DEVICES]
    async with writer(tmp_path, first) as outbox:
        await outbox.attach(names, names)
        await outbox.put(records(DEVICES[0], range(3), wall_ms=None)[:3], {})
    clock = StillClock(boot=2)
    async with writer(tmp_path, clock) as outbox:
        await outbox.attach(names, names)
        await outbox.put(records(DEVICES[0], range(2)) + records(DEVICES[1], range(2)), {})
        found = [await drained(feed) for feed in feeds(outbox, tmp_path, clock, 100)]
        assert [outbox.cursors[name].lost for name in names] == [3, 0, 0]
    assert found == [[("n1", 4), ("n1", 5), ("n1", 6)], [("n2", 7), ("n2", 8), ("n2", 9)], []]
