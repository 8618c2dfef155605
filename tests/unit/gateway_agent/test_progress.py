"""Each fault that stops data is found within 30 s, at its place, and forgotten when data flows."""

import asyncio
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway_agent import progress
from gateway_agent.progress import (
    LOOK_S,
    Delivery,
    DeviceFlow,
    Flow,
    PollerFlow,
    ProgressWatch,
    StoreFlow,
)
from gateway_agent.store.mark import Mark
from gateway_agent.store.outbox import Outbox
from protocols.uplink import Record

from .slave import TcpSlave, until
from .store_help import StillClock
from .test_agent import answer, make, stopped, write_site


@dataclass
class World:
    """A gateway in figures: one device, one outbox, one uplink, all of them well at first."""

    clock: StillClock = field(default_factory=StillClock)
    is_asked: bool = True
    is_answered: bool = True
    is_committed: bool = True
    is_receipted: bool = True
    connected: bool = True
    is_open: bool = True
    period_ms: int = 5000
    full: str = ""
    waiting_for: str = ""
    answered_ms: int = 0
    turned_ms: int = 0
    commits: int = 0
    to: int = 0

    def __post_init__(self) -> None:
        self.answered_ms = self.turned_ms = self.clock.boot_ms()
        self.watch = ProgressWatch(self.clock, self.flow)
        self.watch.look()

    def flow(self) -> Flow:
        if not self.is_open:
            return Flow(self.waiting_for, [], [], None, [])
        now = self.clock.boot_ms()
        problem = "" if self.is_answered else "no answer within 500 ms"
        device = DeviceFlow(
            "roof", "air-1", now - self.answered_ms, self.period_ms, False, False, problem
        )
        return Flow(
            "",
            [device],
            [PollerFlow("roof", max(0, now - self.turned_ms - self.period_ms))],
            StoreFlow(not self.is_committed, self.commits, self.full),
            [Delivery("broker:1883", self.connected, "", self.to, self.commits - self.to, 1000)],
        )

    def after(self, seconds: int) -> list[str]:
        """Let time pass, a look each second; return what stops then, as stage and place."""
        for _ in range(seconds):
            self.clock.now += 1000
            now = self.clock.boot_ms()
            if self.is_asked and now - self.turned_ms >= self.period_ms:
                self.turned_ms = now
                if self.is_answered:
                    self.answered_ms = now
                    self.commits += self.is_committed
            if self.is_receipted and self.connected:
                self.to = self.commits
            self.watch.look()
        return [f"{problem.stage} {problem.what}" for problem in self.watch.problems]


def test_data_that_flows_is_no_problem_for_a_day() -> None:
    world = World()
    assert world.after(3600) == []
    assert world.watch.is_ready
    assert world.watch.summary() == "data flows"


@pytest.mark.parametrize(
    ("fault", "value", "where"),
    [
        ("is_answered", False, "polls roof/air-1"),
        ("is_asked", False, "polls roof/air-1"),
        ("is_committed", False, "commits outbox"),
        ("full", "no space", "commits outbox"),
        ("is_receipted", False, "receipts broker:1883"),
        ("connected", False, "receipts broker:1883"),
        ("is_open", False, "commits outbox"),
    ],
)
def test_each_fault_is_red_within_30_s_and_green_when_it_is_mended(
    fault: str, value: object, where: str
) -> None:
    world = World()
    world.after(60)
    good = getattr(world, fault)
    setattr(world, fault, value)
    assert where in world.after(30 - int(LOOK_S))
    assert not world.watch.is_ready
    setattr(world, fault, good)
    assert world.after(10) == []


@pytest.mark.parametrize(
    ("fault", "own"),
    [
        ("is_asked", True),
        ("is_committed", True),
        ("is_answered", False),
        ("is_receipted", False),
        ("connected", False),
    ],
)
def test_only_what_hangs_in_the_agent_itself_is_a_reason_to_restart_it(
    fault: str, own: bool
) -> None:
    world = World()
    world.after(60)
    setattr(world, fault, False)
    world.after(30)
    assert world.watch.is_alive
    world.after(60)
    assert world.watch.is_alive is not own


def test_a_full_medium_is_no_reason_to_restart() -> None:
    world = World(full="no space", is_committed=False)
    world.after(600)
    assert world.watch.is_alive
    assert world.watch.problems[0].text == "no space"


def test_a_device_that_is_asked_once_an_hour_is_red_after_the_poll_that_failed() -> None:
    world = World(period_ms=3_600_000)
    assert world.after(3 * 3600) == []
    world.is_answered = False
    assert world.after(1) == ["polls roof/air-1"]


def test_an_outbox_that_cannot_be_opened_gives_the_reason_at_once() -> None:
    world = World(is_open=False, waiting_for="the disk is full")
    assert world.after(1) == ["commits outbox"]
    assert world.watch.summary() == "outbox: the disk is full"


def test_a_watch_that_looks_no_more_is_not_alive() -> None:
    world = World()
    world.clock.now += 61_000
    assert not world.watch.is_alive


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let hundredths of a second count as seconds."""
    monkeypatch.setattr(progress, "LIMIT_MS", 300)
    monkeypatch.setattr(progress, "HANG_MS", 900)
    monkeypatch.setattr(progress, "LOOK_S", 0.02)


@pytest.mark.usefixtures("quick")
async def test_the_agent_finds_a_dead_device_a_dead_broker_and_a_commit_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_dead = False

    def sometimes(segment: bytes) -> Iterable[tuple[float, bytes]]:
        return () if is_dead else answer(segment)

    append, may_commit = Outbox.append, threading.Event()
    may_commit.set()

    def hanging(self: Outbox, records: Sequence[Record], marks: Mapping[str, Mark]) -> int:
        may_commit.wait()
        return append(self, records, marks)

    monkeypatch.setattr(Outbox, "append", hanging)
    slave = await TcpSlave(sometimes).start()
    agent, _ = make(write_site(tmp_path, slave.port))
    watch = agent.progress
    task = asyncio.create_task(agent.run())

    def found() -> list[str]:
        return [problem.stage for problem in agent.snapshot().health]

    await until(lambda: found() == ["receipts"])
    assert "refused" in watch.summary()
    is_dead = True
    await until(lambda: found() == ["receipts", "polls"])
    assert watch.is_alive
    is_dead = False
    await until(lambda: found() == ["receipts"])
    may_commit.clear()
    await until(lambda: "commits" in found())
    await until(lambda: not watch.is_alive)
    may_commit.set()
    await until(lambda: found() == ["receipts"] and watch.is_alive)
    await stopped(agent, task)
    await slave.close()
