"""Buses and devices that change while others are polled, counted at the devices on ptys."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from gateway_agent.clock import SystemClock
from gateway_agent.config import (
    Bus,
    GatewayConfig,
    GatewayIdentity,
    MqttUplink,
    OutboxConfig,
    ProfileDevice,
    SerialBus,
)
from gateway_agent.counters import Counters
from gateway_agent.field import field_change
from gateway_agent.field.devices import open_all
from gateway_agent.field.field import Field
from gateway_agent.field.field_change import RestError

from .slave import PtySlave, Reply, answer, registers, until
from .test_poller import Memory

PERIOD_MS = 50


class Devices:
    """What answers on one line, and how often each unit was asked."""

    def __init__(self) -> None:
        self.asked: Counter[int] = Counter()
        self.dead: set[int] = set()

    def __call__(self, request: bytes) -> Iterator[Reply]:
        unit, _, _, count = registers(request)
        self.asked[unit] += 1
        if unit not in self.dead:
            yield 0, answer(unit, *[400 + unit] * count)


class Site:
    """Two lines with one device each; ``field`` polls them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines = {"a": Devices(), "b": Devices()}
        self.slaves = {}
        for name, line in self.lines.items():
            (folder / name).mkdir()
            self.slaves[name] = PtySlave(folder / name, line)
        self.sink, self.counters = Memory(), Counters()
        self.config = self.configured(self.bus("a", 1), self.bus("b", 1))
        self.field = Field(self.config, SystemClock(), self.sink, {}, self.counters)

    def bus(self, name: str, *units: int, baudrate: int = 115200) -> SerialBus:
        devices = tuple(
            ProfileDevice(
                name=f"{name}{unit}", unit=unit, profile="senseair-s8", period_ms=PERIOD_MS
            )
            for unit in units
        )
        path = str(self.slaves[name].path)
        return SerialBus(
            name=name, port=path, baudrate=baudrate, timeout_ms=60, quiet_ms=10, device=devices
        )

    def configured(self, *buses: Bus) -> GatewayConfig:
        identity = GatewayIdentity(id="g", state_dir=self.folder, key=self.folder / "g.key")
        return GatewayConfig(
            gateway=identity,
            uplink=MqttUplink(host="h"),
            outbox=OutboxConfig(commit_ms=1),
            bus=buses,
        )

    async def change(self, *buses: Bus) -> None:
        config = self.configured(*buses)
        await self.field.change(config, open_all(config.bus))

    def records(self, device: str) -> int:
        return sum(record.gap is None for record in self.sink.of(f"g.{device}"))

    async def more(self, device: str, count: int = 3) -> None:
        before = self.records(device)
        await until(lambda: self.records(device) >= before + count)

    def slots_of(self, device: str) -> tuple[int, int]:
        """How many slots of a device were answered, how many missed."""
        found = self.field.find(device)
        assert found is not None
        readers = [r for p in self.field.buses for r in p.readers if r.device_id == f"g.{device}"]
        return readers[0].slots.answered, readers[0].slots.missed


@asynccontextmanager
async def polled(folder: Path) -> AsyncIterator[Site]:
    site = Site(folder)
    task = asyncio.create_task(site.field.run())
    try:
        await site.more("a1")
        await site.more("b1")
        yield site
        assert not task.done()
        assert site.field.slots_unaccounted() == 0
    finally:
        task.cancel()
        await asyncio.wait({task})
        for slave in site.slaves.values():
            slave.close()


async def test_a_device_is_added_and_removed_and_no_other_poll_is_missed(tmp_path: Path) -> None:
    async with polled(tmp_path) as site:
        for _ in range(3):
            await site.change(site.bus("a", 1), site.bus("b", 1, 2))
            await site.more("b2")
            await site.change(site.bus("a", 1), site.bus("b", 1))
            await site.more("b1")
        for device in ("a1", "b1"):
            answered, missed = site.slots_of(device)
            assert missed == site.counters.skipped_slots == 0
            # Counted at the device: every slot since the start was polled once, by one reader.
            line = site.lines[device[0]]
            assert line.asked[1] == answered
        asked = site.lines["b"].asked[2]
        await site.more("b1")
        assert site.lines["b"].asked[2] == asked, "a removed device is asked no more"
    assert {gap.cause for gap in site.sink.gaps("g.b2")} == {"operator"}
    assert not site.sink.gaps("g.a1")
    assert not site.sink.gaps("g.b1")


async def test_a_line_changes_its_speed_and_keeps_its_slots(tmp_path: Path) -> None:
    async with polled(tmp_path) as site:
        before = site.records("b1")
        await site.change(site.bus("a", 1), site.bus("b", 1, baudrate=9600))
        await site.more("b1")
        assert site.records("b1") > before
        assert site.slots_of("a1")[1] == 0
    # What passed while the port was opened anew is named; nothing else is missing.
    assert {gap.cause for gap in site.sink.gaps("g.b1")} <= {"operator", "bus_busy"}


async def test_buses_come_and_go(tmp_path: Path) -> None:
    async with polled(tmp_path) as site:
        await site.change(site.bus("a", 1))
        await site.more("a1")
        asked = site.lines["b"].asked[1]
        await site.more("a1")
        assert site.lines["b"].asked[1] == asked
        await site.change(site.bus("b", 1, 3), site.bus("a", 1))
        await site.more("b3")
        await site.more("b1")
        assert site.slots_of("a1")[1] == 0
        assert [status.name for status in site.field.status(0)] == ["b1", "b3", "a1"]
    assert "operator" in {gap.cause for gap in site.sink.gaps("g.b1")}


async def test_a_title_changes_without_a_pause(tmp_path: Path) -> None:
    async with polled(tmp_path) as site:
        bus = site.bus("a", 1)
        (device,) = bus.device
        named = msgspec.structs.replace(device, title="一号取水口", place="北岸", note="爬梯")
        await site.change(msgspec.structs.replace(bus, device=(named,)), site.bus("b", 1))
        status = site.field.status(0)[0]
        assert (status.title, status.place, status.note) == ("一号取水口", "北岸", "爬梯")
        assert not site.field.buses[0].rest.is_reached
        await site.more("a1")


async def test_nothing_changes_if_a_poll_does_not_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(field_change, "REST_S", 0.2)
    async with polled(tmp_path) as site:
        monkeypatch.setattr(site.field.queue, "_max_bytes", 1000)
        site.sink.gate.clear()  # the store takes nothing any more
        await until(lambda: site.field.queue.full)
        try:
            # Both are to be changed: whichever has filled the queue is in its poll.
            with pytest.raises(RestError, match="nothing was changed"):
                await site.change(site.bus("a", 1, 2), site.bus("b", 1, 2))
        finally:
            site.sink.gate.set()  # else the end would wait for it
        await site.more("b1")
        assert [status.name for status in site.field.status(0)] == ["a1", "b1"]
