"""A power cut at every word that a visit writes leaves one of the states, and never a third."""

from __future__ import annotations

import struct
from collections.abc import Callable
from ctypes import CDLL
from typing import TYPE_CHECKING

import pytest

from boards.recordstore import compose
from firmware.node import config
from firmware.node.site import Visit
from hil.flash.model import Flash, RecordStore
from hil.flash.states import Scenario, record, states
from protocols.wire.registers import setting_address
from protocols.wire.site import HOLD, KEEP, RECORD, TRIAL
from tests.unit.firmware.node_fakes import Board, MemoryStore, make_node

if TYPE_CHECKING:
    from firmware.node.ports import Files

SECTOR = 2048
NAMES = (config.FILE, "cal2")
FIRST = setting_address("ph_raw_1")
COEFFICIENTS = [30_000, 701, 40_000, 402]
CALIBRATION = [FIRST, 20_785, *COEFFICIENTS, 987, *[0x4142] * 24]
OLD, NEW = (1, 96), (9, 192)

pytestmark = pytest.mark.timeout(600)


def visit(store: Files, act: Callable[[Visit], None]) -> None:
    """Let a node with this store be visited."""
    board = Board("nowhere")
    board.files = MemoryStore()
    node, _ = make_node(board, "water", {})
    node.config.store = store
    act(Visit(node))


def keep(visit: Visit) -> None:
    assert visit.write(TRIAL, [*NEW, 5], True) == 0
    visit.turn(1000)  # the board's own time stands still: it is where it is tried now
    assert visit.write(KEEP, [1], True) == 0


def calibrate(visit: Visit) -> None:
    assert visit.write(HOLD, [0b0100, 60], True) == 0
    assert visit.write(RECORD + 2, CALIBRATION, True) == 0
    assert visit.write(HOLD, [0, 0], True) == 0


def scenario(library: CDLL, name: str, act: Callable[[Visit], None]) -> Scenario:
    settings = bytes(config.encode(config.Config(MemoryStore(), {})._values))
    before = compose({config.FILE: settings}, SECTOR)
    return record(name, library, before, NAMES, lambda store: visit(store, act))


def test_a_trial_that_is_kept_is_the_old_or_the_new_place(library: CDLL) -> None:
    places = set()
    count = 0
    for state in states(scenario(library, "keep", keep)):
        settings = config.Config(RecordStore(library, Flash(state.content(), SECTOR)), {})
        assert not settings.defaulted, state.cause
        places.add((settings.value(0), settings.value(1)))
        count += 1
    assert places == {OLD, NEW}
    assert count > 900


def test_coefficients_come_into_force_whole_and_never_without_their_record(library: CDLL) -> None:
    seen = set()
    for state in states(scenario(library, "calibration", calibrate)):
        store = RecordStore(library, Flash(state.content(), SECTOR))
        settings = config.Config(store, {})
        assert not settings.defaulted, state.cause
        now = [settings.value(FIRST + index) for index in range(4)]
        content = store.read("cal2")
        assert content in (None, struct.pack(">31H", *CALIBRATION)), state.cause
        seen.add((now == COEFFICIENTS, content is not None))
        assert now in (COEFFICIENTS, [29789, 700, 40362, 400]), state.cause
    assert seen == {(False, False), (False, True), (True, True)}
