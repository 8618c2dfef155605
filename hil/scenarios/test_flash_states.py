"""Whenever the power is cut while a node writes its flash: the old configuration or the new one.

On an engine with a debugger the image boots from every state that the node's own code can leave in
a flash that behaves as the chip's manual describes (``hil/flash/states.py`` lists them, torn words
and torn erases among them). On an engine whose flash the guest can write the power is cut live, at
each operation of the node on its flash.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from ctypes import CDLL
from pathlib import Path

import pytest

from boards.records import commission_of, key_content, records_of
from boards.recordstore import survey
from hil.engines.abilities import Capability, DebugsBoards, FlashCuts, FlashImage, WarmReset
from hil.engines.base import Board, Engine, NodeSpec, RunsAhead
from hil.errors import EngineError, NoCompilerError
from hil.flash.boot import Booter
from hil.flash.model import build
from hil.flash.states import (
    Outcome,
    Scenario,
    commissioned,
    filled,
    node_scenarios,
    outcomes,
    states,
)
from protocols.wire.crc import crc16
from protocols.wire.registers import setting_address

UNIT = 7
PERIOD = setting_address("sample_period_ds")
OLD, NEW = 50, 20

pytestmark = pytest.mark.exhaustive

SPEC = NodeSpec(
    name="flash",
    role="water",
    uid="000102030405060708090a0b",
    settings={"unit_id": UNIT, "sample_period_ds": OLD},
    key_id=7,
    key="5a" * 32,
)
#: Emulators beside each other; a boot keeps one core busy.
WORKERS = 2
SCENARIOS = ("configuration write", "boot-epoch write", "compaction")

Property = Callable[[str, object], None]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> CDLL:
    """Compile the image's record store for the host: it makes the states."""
    try:
        return build(tmp_path_factory.mktemp("record_store"))
    except NoCompilerError as error:
        pytest.skip(f"NOT TESTED: the states of the flash: {error}")


def records() -> dict[str, bytes]:
    """Return the records the node is provisioned with."""
    assert SPEC.key is not None
    commission = commission_of(SPEC.role, SPEC.settings, SPEC.uid)
    return records_of(commission, key_content(SPEC.key_id, SPEC.key))


@pytest.mark.asyncio
@pytest.mark.timeout(900)
@pytest.mark.needs(Capability.FLASH_IMAGE, Capability.IMAGE)
@pytest.mark.parametrize("name", SCENARIOS)
async def test_every_flash_state_boots(
    engine: Engine,
    hil_folder: Path,
    library: CDLL,
    name: str,
    record_property: Property,
) -> None:
    if not isinstance(engine, DebugsBoards):
        pytest.skip("no debugger writes its flash; here the power is cut live, see below")
    known = node_scenarios(library, records(), PERIOD, OLD, NEW)
    scenario = next(each for each in known if each.name == name)
    async with engine:
        seen = await boot_all(engine, hil_folder, scenario)
    record_property("flash states: " + name, sum(seen.values()))
    assert set(seen) == outcomes(scenario, PERIOD), "each accepted outcome must have been met"


async def boot_all(engine: DebugsBoards, folder: Path, scenario: Scenario) -> Counter[Outcome]:
    """Boot from every state; return how often the node came up how. AssertionError names the
    cut.
    """
    accepted = outcomes(scenario, PERIOD)
    by_line: dict[tuple[object, object], Outcome] = {
        (each.boot_epoch, each.config): each for each in accepted
    }
    waiting = states(scenario)
    seen = Counter[Outcome]()

    async def work(number: int) -> None:
        async with engine.debug_board(folder / f"board{number}") as board:
            booter = Booter(board, UNIT, PERIOD)
            for state in waiting:
                # A node with a boot line has opened its store and read its settings. That it
                # serves as well is asked at every state but the torn ones.
                boot = await booter.boot(state.content(), ask=not state.torn)
                found = by_line.get((boot.line["boot_epoch"], boot.line["config"]))
                assert found is not None, f"{state.cause}: {boot.line}, not of {accepted}"
                assert boot.line["role"] == SPEC.role, state.cause
                assert boot.setting in (None, found.setting), f"{state.cause}: {boot.setting}"
                seen[found] += 1

    async with asyncio.TaskGroup() as tasks:
        for number in range(WORKERS):
            tasks.create_task(work(number))
    return seen


# --- live: the engine's flash is written by the node itself ---------------------------------------


#: A configuration write takes 30 operations, a boot 20, a compaction 120 and an erase.
MOST_OPERATIONS = 400
#: Of the board's time, which may run twenty times faster than the host's: an answer comes in
#: milliseconds, a boot in less than a second.
WAIT_S = 20.0


async def set_period(board: Board) -> None:
    """Write one setting, as a master does. Nobody waits for the answer."""
    body = bytes((UNIT, 6, PERIOD >> 8, PERIOD & 0xFF, NEW >> 8, NEW & 0xFF))
    crc = crc16(body)
    board.wire("line").write(body + bytes((crc & 0xFF, crc >> 8)))


async def restart(board: Board) -> None:
    """Pull the reset pin; the boot takes an epoch, unless the power is cut first."""
    assert isinstance(board, WarmReset)
    with suppress(EngineError):
        await board.warm_reset()


def boot_epoch(line: Mapping[str, object]) -> int:
    """Return the epoch in a boot line."""
    epoch = line["boot_epoch"]
    assert isinstance(epoch, int)
    return epoch


@pytest.mark.asyncio
@pytest.mark.timeout(3600)
@pytest.mark.needs(
    Capability.POWER_CUT_AT_FLASH,
    Capability.FLASH_WRITES,
    Capability.FLASH_IMAGE,
    Capability.WARM_RESET,
)
@pytest.mark.parametrize("name", SCENARIOS)
async def test_power_cut_at_every_flash_operation(
    engine: Engine, hil_folder: Path, library: CDLL, name: str, record_property: Property
) -> None:
    act: Callable[[Board], Awaitable[None]] = restart
    content = commissioned(library, records(), (PERIOD, OLD))
    settings = {OLD}
    if name == "configuration write":
        act, settings = set_period, {OLD, NEW}
    elif name == "compaction":
        # Room for the epoch of one boot (two records of 40 bytes) and not for a second one's.
        content = filled(library, content, 160)
    if isinstance(engine, RunsAhead):
        # Two boots for each cut, and nothing outside that has to keep up.
        engine.ahead = True
    async with engine:
        board = await engine.board(SPEC, hil_folder / "node")
        assert isinstance(board, FlashCuts)
        assert isinstance(board, FlashImage)
        for number in range(1, MOST_OPERATIONS):
            await board.write_flash(content)
            shown = boot_epoch(await board.start())
            await board.cut_at_flash(number)
            acting = asyncio.ensure_future(act(board))
            cut = await board.wait_for_cut(WAIT_S)
            acting.cancel()
            with suppress(asyncio.CancelledError, EngineError):
                await acting
            await board.kill()
            found = survey(await board.read_flash()).records
            assert found["board"] == records()["board"], f"cut at operation {number}"
            assert boot_epoch(await board.start()) > shown, f"cut at operation {number}"
            stored = survey(await board.read_flash()).records["config"]
            assert int.from_bytes(stored[6 + 2 * PERIOD : 8 + 2 * PERIOD]) in settings, number
            await board.kill()
            if not cut:
                break
        else:
            raise AssertionError(f"the node still writes after {MOST_OPERATIONS} operations")
    assert number > 10, "the node must have written something"
    record_property("power cuts at flash: " + name, number - 1)
