"""Groups of points with periods of their own: which requests a poll sends, what is recorded."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from gateway_agent.clock import Wall
from gateway_agent.config import ProfileDevice, SerialBus
from gateway_agent.counters import Counters
from gateway_agent.field.cuts import CutFile
from gateway_agent.field.devices import OpenProfile
from gateway_agent.field.master import Master
from gateway_agent.field.planner import JoinRules, plan_bus
from gateway_agent.field.profile import GroupClock, load_profile
from gateway_agent.field.profile_reader import ProfileReader
from protocols.uplink import CLOCK_NONE, decode_record
from tests.unit.gateway_agent.slave import PtySlave, Reply, raw_answer, registers

PROFILE = """
[profile]
name = "own"
title = "Own"
source = "manual"
[[group]]
name = "slow"
period_ms = 3000
[[group]]
name = "fast"
period_ms = 500
[[point]]
name = "plain"
register = 0
type = "u16"
[[point]]
name = "total"
register = 1
type = "u16"
group = "slow"
[[point]]
name = "flow"
register = 2
type = "u16"
group = "fast"
[[point]]
name = "pump"
table = "coil"
register = 10
type = "bool"
"""


class SetClock:
    """A clock that shows what the test sets."""

    boot_id = bytes(16)

    def __init__(self) -> None:
        self.ms = 0

    def boot_ms(self) -> int:
        """Return the time that was set."""
        return self.ms

    def wall(self) -> Wall:
        """Return that wall time is unknown."""
        return Wall(None, 0, CLOCK_NONE)


class Meter:
    """A device on a pty with its reader; it can be silent."""

    def __init__(self, folder: Path) -> None:
        path = folder / "own.toml"
        path.write_text(PROFILE, encoding="utf-8")
        self.silent = False
        self.silent_at = -1  # a register that is not answered
        self.slave = PtySlave(folder, self._reply)
        self.device = ProfileDevice(name="m", unit=1, profile=str(path), period_ms=1000)
        port = str(self.slave.path)
        self.bus = SerialBus(name="b", port=port, timeout_ms=50, device=(self.device,))
        self.clock = SetClock()
        self.opened = OpenProfile(self.device, load_profile(str(path)))
        self.reader = ProfileReader(
            self.bus, self.opened, "g.m", self.clock, Counters(), CutFile(folder)
        )

    def _reply(self, request: bytes) -> Iterator[Reply]:
        unit, function, address, count = registers(request)
        if not self.silent and address != self.silent_at:
            words = b"".join((100 + address + i).to_bytes(2, "big") for i in range(count))
            yield 0, raw_answer(unit, b"\1" if function == 1 else words, function)

    async def poll(self, master: Master, ms: int) -> list[str]:
        """Poll at ``ms``; return the names that the record holds."""
        self.clock.ms = ms
        polled = await self.reader.poll(master)
        names: list[str] = []
        for record in polled.records:
            names += [item.name for item in decode_record(record.data).values]
        return names


@asynccontextmanager
async def meter(folder: Path) -> AsyncIterator[tuple[Meter, Master]]:
    """Yield a meter and the master of its bus."""
    one = Meter(folder)
    master = Master(one.bus, Counters())
    try:
        yield one, master
    finally:
        master.close()
        one.slave.close()


async def test_each_group_is_read_with_its_own_period(tmp_path: Path) -> None:
    async with meter(tmp_path) as (one, master):
        assert one.reader.device.period_ms == 500
        assert sorted(await one.poll(master, 70)) == ["flow", "plain", "pump", "total"]
        seen = {ms: await one.poll(master, ms) for ms in range(500, 6501, 500)}
    assert {ms for ms, names in seen.items() if "flow" in names} == set(seen)
    assert [ms for ms, names in seen.items() if "plain" in names] == [
        1000, 2000, 3000, 4000, 5000, 6000,
    ]  # fmt: skip
    assert [ms for ms, names in seen.items() if "total" in names] == [3000, 6000]
    # Values of all groups are shown, each the newest.
    assert [(item.name, item.value) for item in one.reader.values()] == [
        ("plain", 100), ("total", 101), ("flow", 102), ("pump", 1),
    ]  # fmt: skip


async def test_a_slow_group_without_its_answer_is_read_again_soon(tmp_path: Path) -> None:
    async with meter(tmp_path) as (one, master):
        await one.poll(master, 0)
        one.silent_at = 1
        assert await one.poll(master, 3000) == ["plain", "flow", "pump"]
        one.silent_at = -1
        assert "total" in await one.poll(master, 3500)
        assert "total" not in await one.poll(master, 4000)
        assert "total" in await one.poll(master, 6000)  # on its own grid again


async def test_a_slow_group_that_is_never_answered_is_not_asked_for_all_the_time(
    tmp_path: Path,
) -> None:
    async with meter(tmp_path) as (one, master):
        one.silent_at = 1
        for ms in range(0, 6500, 500):
            await one.poll(master, ms)
        asked = [registers(request)[2] for request in one.slave.requests]
        assert asked.count(2) == 13
        assert asked.count(1) == 8  # four times in each of two periods


async def test_a_group_whose_poll_had_no_answer_stays_due(tmp_path: Path) -> None:
    async with meter(tmp_path) as (one, master):
        await one.poll(master, 0)
        one.silent = True
        assert await one.poll(master, 3000) == []
        one.silent = False
        assert "total" in await one.poll(master, 3500)
        assert "total" not in await one.poll(master, 4000)
        assert "total" in await one.poll(master, 6000)  # on its own grid again


async def test_the_plan_of_a_bus_counts_each_group_with_its_period(tmp_path: Path) -> None:
    async with meter(tmp_path) as (one, _):
        rules = JoinRules.of(one.bus)
        reads, periods = one.opened.reads(rules), one.opened.read_periods(rules)
    assert sorted(periods) == [500, 1000, 1000, 3000]
    (plan,) = plan_bus(one.bus, [reads], [periods]).devices
    (whole,) = plan_bus(one.bus, [reads]).devices
    assert plan.poll_ms == whole.poll_ms
    # Of four reads of nearly the same length: 1/500 + 2/1000 + 1/3000 against 4/1000.
    assert 1.05 < plan.share / whole.share < 1.12


def test_a_group_that_was_missed_for_long_is_read_once_and_keeps_its_grid() -> None:
    groups = GroupClock({"": 1000, "slow": 10_000})
    assert groups.due(5) == ("", "slow")
    groups.was_read(("", "slow"), 5)
    assert groups.due(1005) == ("",)
    assert groups.due(47_005) == ("", "slow")
    groups.was_read(("", "slow"), 47_005)
    assert groups.due(49_005) == ("",)
    assert groups.due(50_005) == ("", "slow")
    assert GroupClock({"": 1000}).due(77) == ("",)
