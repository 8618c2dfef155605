"""Disturbed lines: real nodes, a real tty, the gateway's own field code.

Whatever the line or a node does, it ends in counted, explained states, and the records of the
gateway account for every sample the node took: recorded once, or inside a gap that names a cause.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from gateway_agent.clock import SystemClock
from gateway_agent.config import parse
from gateway_agent.counters import Counters
from gateway_agent.field.field import Field
from gateway_agent.status import DeviceStatus
from gateway_agent.store.mark import Mark
from hil.bench import GATEWAY, Bench
from hil.bus import Fault, FaultKind
from hil.files import write_private
from hil.sim.part import Steady
from hil.site.accounts import NodeAccount
from hil.site.ledger import DeviceLedger, ledgers_of_records
from protocols.uplink import CAUSES, Record

LIMIT_S = 100
# A busy machine is not a failure; what hangs ends by LIMIT_S, with a better message.
pytestmark = pytest.mark.timeout(120)
# Far longer than a busy machine keeps a node or this process waiting for its turn.
TIMEOUT_MS = 400
LATE_S = 0.6
# Samples every 700 ms, asked for every 100 ms: a single failed poll loses nothing.
SETTINGS = {"sample_period_ds": 7, "warmup_limit_s": 0}
PERIOD_MS = 100


class Memory:
    """Keep records and marks in memory, in place of the outbox."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.marks: dict[str, Mark] = {}

    async def put(self, records: Sequence[Record], marks: Mapping[str, Mark]) -> None:
        self.records += records
        self.marks.update(marks)


class FieldSite:
    """A bench with a gateway's field side on its line."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        self.bench = bench
        self.line = bench.line
        self.counters = Counters()
        self.sink = Memory()
        self.figures: dict[str, Mapping[str, object]] = {}
        devices = []
        for role in bench.names:
            spec = bench.nodes[role].spec
            key = folder / f"{role}.key"
            write_private(key, f'{{"key_id": {spec.key_id}, "key": "{spec.key}"}}')
            devices.append(
                {
                    "name": role,
                    "unit": bench.unit(role),
                    "kind": "node",
                    "role": role,
                    "uid": spec.uid,
                    "key": str(key),
                    "period_ms": PERIOD_MS,
                }
            )
        bus = {
            "name": "line",
            "type": "rtu",
            "port": bench.port,
            "timeout_ms": TIMEOUT_MS,
            "device": devices,
        }
        tables: dict[str, object] = {
            "gateway": {"id": "test", "state_dir": "state", "key": "none"},
            "uplink": {"host": "127.0.0.1", "receipt": "puback"},
            "outbox": {"commit_ms": 0},
            "bus": [bus],
        }
        self.field = Field(
            parse(tables, folder / "gateway.toml"), SystemClock(), self.sink, {}, self.counters
        )

    def device(self, role: str) -> DeviceStatus:
        return self.field.status(0)[self.bench.names.index(role)]

    def ledger(self, role: str) -> DeviceLedger:
        ledgers = ledgers_of_records(record.data for record in self.sink.records)
        return ledgers.get(self.bench.device_id(role), DeviceLedger())

    def account(self, role: str) -> NodeAccount:
        return NodeAccount.of(self.figures[role], self.ledger(role))

    def samples(self, role: str) -> int:
        """Return how many samples of a node are recorded."""
        return sum(counts.total() for counts in self.ledger(role).samples.values())

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await asyncio.sleep(0.01)

    async def more(self, role: str, count: int) -> None:
        """Wait until so many further samples of a node are recorded."""
        wanted = self.samples(role) + count
        await self.until(lambda: self.samples(role) >= wanted)

    async def disturb(self, times: int, fault: Fault) -> None:
        """Apply a fault ``times`` times, with a sample of every node between: none quarantined."""
        for _ in range(times):
            once = self.line.inject(replace(fault))
            await self.until(lambda once=once: once.applied == 1)  # type: ignore[misc]  # no type for its default
            for role in self.bench.names:
                await self.more(role, 1)

    async def settle(self) -> None:
        """Stop sampling everywhere and read the last samples."""
        for role in self.bench.names:
            self.figures[role] = await self.bench.nodes[role].stop_sampling()

        for role in self.bench.names:
            await self.until(partial(self._has_last, role))

    def _has_last(self, role: str) -> bool:
        account = self.account(role)
        return account.samples_taken in account.ledger.samples[account.boot_epoch]

    def failed(self, **causes: int) -> None:
        """Check how many polls failed, each cause counted once per fault.

        More timeouts come from a busy machine: a node had to wait for its turn longer than the
        timeout. The answer of each such poll came later and was counted as late.
        """
        errors = Counter(self.counters.poll_errors)
        waited = errors["bus_timeout"] - causes.get("bus_timeout", 0)
        assert 0 <= waited <= self.counters.late_replies
        errors["bus_timeout"] -= waited
        assert +errors == Counter(causes)

    def check(self) -> None:
        """Check that every sample of each last boot is recorded once or named in a gap."""
        for role in self.bench.names:
            assert self.account(role).unexplained() == []
        assert self.counters.node_tag_failures == 0
        assert self.counters.replayed == 0
        assert set(self.counters.gaps) <= set(CAUSES)


@asynccontextmanager
async def site(folder: Path, *roles: str, seed: int = 1) -> AsyncIterator[FieldSite]:
    async with (
        asyncio.timeout(LIMIT_S),
        Bench(folder, Steady(), roles=roles, settings=SETTINGS, seed=seed) as bench,
    ):
        bench.water_bridge.ds18b20.convert_s = 0.01
        await bench.power_on()
        made = FieldSite(bench, folder)
        task = asyncio.create_task(made.field.run())
        try:
            for role in roles:
                await made.more(role, 2)
            yield made
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def play(
    folder: Path, scene: Callable[[FieldSite], Coroutine[None, None, None]], *roles: str
) -> FieldSite:
    """Run a scene on a new site, read the last samples, and check the account."""
    async with site(folder, *roles) as made:
        await scene(made)
        await made.settle()
    made.check()
    return made


async def test_undisturbed_line_loses_nothing(tmp_path: Path) -> None:
    async def scene(site: FieldSite) -> None:
        await site.more("air", 3)
        await site.more("water", 3)

    done = await play(tmp_path, scene, "air", "water")
    done.failed()
    assert done.counters.late_replies == done.counters.poll_errors["bus_timeout"]
    assert done.counters.foreign_answers == 0
    for role in ("air", "water"):
        sampled = done.figures[role]["sampled_readings"]
        lost = sum(gap.cause != "gateway_down" for gap in done.ledger(role).gaps)
        assert lost == 0
        if not done.ledger(role).gaps:
            assert done.ledger(role).readings == sampled


async def test_wrong_crc_is_counted_each_time_and_costs_no_sample(tmp_path: Path) -> None:
    async def scene(site: FieldSite) -> None:
        await site.disturb(3, Fault(FaultKind.FLIP, origin="air"))

    done = await play(tmp_path, scene, "air", "water")
    done.failed(crc=3)
    if done.counters.poll_errors.total() == 3:
        assert done.ledger("air").in_gaps() == 0


async def test_cut_answers_are_counted_each_time(tmp_path: Path) -> None:
    async def scene(site: FieldSite) -> None:
        await site.disturb(3, Fault(FaultKind.CUT, origin="water", size=20))

    done = await play(tmp_path, scene, "air", "water")
    done.failed(crc=3)


async def test_cut_and_damaged_requests_are_not_answered(tmp_path: Path) -> None:
    async def scene(site: FieldSite) -> None:
        await site.disturb(1, Fault(FaultKind.CUT, origin=GATEWAY, size=5))
        await site.disturb(2, Fault(FaultKind.FLIP, origin=GATEWAY))

    done = await play(tmp_path, scene, "air", "water")
    done.failed(bus_timeout=3)


async def test_noise_on_every_third_burst(tmp_path: Path) -> None:
    async def scene(site: FieldSite) -> None:
        noise = Fault(FaultKind.NOISE, times=None, rate=0.34, size=7)
        site.line.inject(noise)
        await site.until(lambda: noise.applied >= 12)
        site.line.noise(100)
        site.line.disarm(noise)
        await site.more("air", 2)
        await site.more("water", 2)

    done = await play(tmp_path, scene, "air", "water")
    # Noise before a request keeps its node silent; noise before an answer is skipped.
    assert done.counters.noise_bytes >= 100
    assert done.counters.poll_errors.total() > 0
    assert set(done.counters.poll_errors) <= {"bus_timeout", "crc"}
    assert done.counters.foreign_answers == 0


async def test_late_answers_are_never_taken_for_the_next(tmp_path: Path) -> None:
    async def scene(site: FieldSite) -> None:
        late = Fault(FaultKind.DELAY, origin="air", times=3, delay_s=LATE_S)
        site.line.inject(late)
        await site.until(lambda: late.applied == 3)
        await site.more("air", 3)
        await site.more("water", 2)

    done = await play(tmp_path, scene, "air", "water")
    assert done.counters.poll_errors["bus_timeout"] >= 1
    assert done.counters.late_replies >= 1
    assert done.counters.poll_errors["wrong_unit"] == 0


@pytest.mark.parametrize("unit", [2, 99])
async def test_answer_of_another_unit_is_refused(tmp_path: Path, unit: int) -> None:
    async def scene(site: FieldSite) -> None:
        await site.disturb(4, Fault(FaultKind.FOREIGN, origin="air", unit=unit))

    done = await play(tmp_path, scene, "air", "water")
    done.failed(wrong_unit=4)
    assert done.counters.foreign_answers == 4


async def test_answer_received_twice_is_recorded_once(tmp_path: Path) -> None:
    async def scene(site: FieldSite) -> None:
        double = site.line.inject(Fault(FaultKind.DUPLICATE, origin="air", times=4))
        await site.until(lambda: double.applied == 4)
        await site.more("air", 2)

    await play(tmp_path, scene, "air", "water")


async def test_node_that_vanishes_and_returns_costs_a_gap_with_its_range(tmp_path: Path) -> None:
    async def scene(site: FieldSite) -> None:
        site.line.silence("water", silent=True)
        await site.until(lambda: site.device("water").state == "quarantined")
        await site.more("air", 3)  # the others keep their places
        site.line.silence("water", silent=False)
        await site.more("water", 2)

    done = await play(tmp_path, scene, "air", "water")
    assert done.counters.poll_errors["bus_timeout"] >= 3
    gaps = [gap for gap in done.ledger("water").gaps if gap.cause == "bus_timeout"]
    assert len(gaps) == 1
    assert gaps[0].first is not None
    assert "no answer" in gaps[0].detail
    assert not [gap for gap in done.ledger("air").gaps if gap.cause == "bus_timeout"]


async def test_node_that_measures_more_often_than_its_answers_arrive(tmp_path: Path) -> None:
    async def scene(site: FieldSite) -> None:
        drop = Fault(FaultKind.DROP, origin="air", times=10)
        site.line.inject(drop)
        await site.until(lambda: drop.applied == 10 or site.device("air").state == "quarantined")
        site.line.disarm(drop)
        await site.more("air", 2)

    done = await play(tmp_path, scene, "air", "water")
    assert done.counters.poll_errors["bus_timeout"] >= 3


async def test_reset_is_a_gap_of_the_old_boot(tmp_path: Path) -> None:
    async def scene(site: FieldSite) -> None:
        await site.bench.reset("air")
        await site.more("air", 2)

    done = await play(tmp_path, scene, "air", "water")
    ledger = done.ledger("air")
    assert done.figures["air"]["boot_epoch"] == 2
    resets = [gap for gap in ledger.gaps if gap.cause == "node_reset" and gap.boot_epoch == 1]
    assert len(resets) == 1
    # Of the boot that ended everything up to the last sample taken is there.
    assert ledger.missing(1, max(ledger.samples[1])) == []


async def test_two_resets_in_a_row(tmp_path: Path) -> None:
    async def scene(site: FieldSite) -> None:
        await site.bench.reset("air")
        await site.bench.reset("air")
        await site.more("air", 2)

    done = await play(tmp_path, scene, "air", "water")
    ledger = done.ledger("air")
    assert done.figures["air"]["boot_epoch"] == 3
    resets = [gap for gap in ledger.gaps if gap.cause == "node_reset"]
    assert resets
    assert resets[0].boot_epoch == 1
    if 2 not in ledger.samples:
        assert "1 boots between were never read" in resets[0].detail
    assert ledger.missing(1, max(ledger.samples[1])) == []


async def test_everything_at_once_from_a_seed(tmp_path: Path) -> None:
    # Not every burst: a node that fails three times in a row is polled less often each time.
    kinds = [
        Fault(FaultKind.FLIP, times=4, rate=0.15),
        Fault(FaultKind.CUT, times=3, rate=0.15, size=6),
        Fault(FaultKind.DELAY, origin="water", times=2, rate=0.5, delay_s=LATE_S),
        Fault(FaultKind.FOREIGN, origin="air", times=2, rate=0.5, unit=2),
        Fault(FaultKind.DUPLICATE, times=2),
        Fault(FaultKind.DROP, times=2, rate=0.15),
    ]

    async def scene(site: FieldSite) -> None:
        for fault in kinds:
            site.line.inject(fault)
        await site.until(lambda: all(fault.applied == fault.times for fault in kinds))
        await site.bench.reset("water")
        await site.more("air", 2)
        await site.more("water", 2)

    done = await play(tmp_path, scene, "air", "water")
    assert done.counters.poll_errors.total() > 0
