"""Slots of a node that pushes: every one answered, missed for a cause, or excused by a sequence."""

import random

import pytest

from gateway_agent.field.heartbeat import Heartbeat
from gateway_agent.field.link.push_slots import PushSlots
from gateway_agent.field.slot_account import SlotAccount
from gateway_agent.field.slot_keeper import SlotKeeper

from .store_help import StillClock

PERIOD = 1000
SILENT = ("bus_timeout", "no session")


class Node:
    """A clock that is moved, and the slots of a node from time 0 on."""

    def __init__(self, period_ms: int = PERIOD) -> None:
        self.clock = StillClock()
        self.clock.now = 0
        self.account = SlotAccount()
        self.heartbeat = Heartbeat(self.clock)
        self.grid = PushSlots(self.account, SlotKeeper(self.clock, self.heartbeat), period_ms, 0)

    def at(self, now_ms: int, sample: bool = False) -> None:
        # Beats like the agent's, so that no stall is seen.
        self.clock.now = self.heartbeat._beat_ms = now_ms
        self.grid.advance(SILENT, now_ms)
        if sample:
            self.account.answer()
            self.account.over()
            self.grid.arrived(now_ms)
        assert self.grid.unaccounted == 0


def test_a_sample_in_each_period_misses_nothing() -> None:
    node = Node()
    for number in range(50):
        node.at(300 + number * PERIOD, sample=True)
    assert (node.account.answered, node.account.missed) == (50, 0)


@pytest.mark.parametrize("seed", range(5))
def test_jitter_and_a_drifting_clock_miss_nothing(seed: int) -> None:
    chance, node = random.Random(seed), Node()
    for number in range(500):
        node.at(round(700 + number * PERIOD * 1.0005 + chance.uniform(-200, 200)), sample=True)
    assert node.account.missed == 0


def test_silence_is_missed_slot_by_slot_and_excused_by_what_comes_late() -> None:
    node = Node()
    node.at(500, sample=True)
    for now in range(600, 10_600, 100):
        node.at(now)
    assert node.account.pending == 9
    missed = node.account.total()
    assert (missed.cause, missed.from_ms, missed.to_ms) == ("bus_timeout", 1000, 9000)
    assert node.grid.due_ms == 10_000
    node.at(10_600, sample=True)
    assert (node.account.excused, node.account.pending, node.grid.due_ms) == (9, 0, 11_000)


def test_what_the_process_slept_through_is_its_own_fault() -> None:
    node = Node()
    node.at(500, sample=True)
    node.clock.now = 6600  # the heartbeat stood still
    node.grid.advance(SILENT, 6600)
    assert {item.cause: item.slots for item in node.account.marked()} == {"gateway_down": 5}
    assert node.grid.unaccounted == 0


def test_another_period_holds_from_now_on() -> None:
    node = Node(60_000)
    node.at(500)
    node.grid.set_period(100, 500)
    for now in range(500, 1000, 50):
        node.at(now)
    assert node.account.missed == 4
    node.grid.set_period(100, 1000)  # the same: nothing moves
    assert node.grid.end_ms == 1000
