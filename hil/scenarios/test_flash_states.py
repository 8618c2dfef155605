"""Whenever the power goes while a node writes its flash: the old configuration or the new one.

On QEMU, whose flash is ROM to the guest, the image boots from every state that the node's own code
can leave in a flash that behaves as the chip's manual says (``hil/flash/states.py`` tells which,
torn words and torn erases among them). On an engine whose flash the guest can write the power is
cut live, at each operation of the node on its flash.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from ctypes import CDLL
from pathlib import Path
from typing import Protocol, cast

import pytest

from boards.recordstore import survey
from hil.engines.base import Board, Capability, Engine, NodeSpec, Reset
from hil.errors import EngineError, NoCompilerError
from hil.flash.boot import Booter
from hil.flash.model import build
from hil.flash.states import (
    Outcome,
    Scenario,
    State,
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
    """The image's record store, compiled for the host: it makes the states."""
    try:
        return build(tmp_path_factory.mktemp("record_store"))
    except NoCompilerError as error:
        pytest.skip(f"NOT TESTED: the states of the flash: {error}")


def records() -> dict[str, bytes]:
    """What the node is provisioned with."""
    board = {"role": SPEC.role, "uid": SPEC.uid, "settings": {**SPEC.settings}}
    key = {"key_id": SPEC.key_id, "key": SPEC.key}
    return {"board": json.dumps(board).encode(), "node.key": json.dumps(key).encode()}


@pytest.mark.timeout(900)
@pytest.mark.needs(Capability.FLASH_IMAGE, Capability.IMAGE)
@pytest.mark.parametrize("name", SCENARIOS)
def test_every_flash_state_boots(
    engine_name: str,
    image: Path | None,
    hil_folder: Path,
    library: CDLL,
    name: str,
    record_property: Property,
) -> None:
    if engine_name != "qemu":
        pytest.skip("the states are made for QEMU; here the power is cut live, see below")
    assert image is not None
    known = node_scenarios(library, records(), PERIOD, OLD, NEW)
    scenario = next(each for each in known if each.name == name)
    seen = boot_all(image, hil_folder, scenario)
    record_property("flash states: " + name, sum(seen.values()))
    assert set(seen) == outcomes(scenario, PERIOD), "each accepted outcome must have been met"


def boot_all(image: Path, folder: Path, scenario: Scenario) -> dict[Outcome, int]:
    """Boot ``image`` from every state; how often it came up how. AssertionError names the cut."""
    accepted = outcomes(scenario, PERIOD)
    by_line = {(each.boot_epoch, each.config): each for each in accepted}
    waiting = states(scenario)
    lock = threading.Lock()
    failed = threading.Event()
    seen: dict[Outcome, int] = {}

    def take() -> State | None:
        with lock:
            return None if failed.is_set() else next(waiting, None)

    def work(number: int) -> None:
        try:
            with Booter(image, folder / f"qemu{number}", UNIT, PERIOD) as booter:
                while (state := take()) is not None:
                    # A node that said that it is up has opened its store and read its settings.
                    # That it serves as well is asked at every state but the torn ones.
                    boot = booter.boot(state.content(), ask=not state.torn)
                    found = by_line.get(
                        (cast(int, boot.line["boot_epoch"]), str(boot.line["config"]))
                    )
                    assert found is not None, f"{state.cause}: {boot.line}, not of {accepted}"
                    assert boot.line["role"] == SPEC.role, state.cause
                    assert boot.setting in (None, found.setting), f"{state.cause}: {boot.setting}"
                    with lock:
                        seen[found] = seen.get(found, 0) + 1
        except BaseException:
            failed.set()
            raise

    with ThreadPoolExecutor(WORKERS) as pool:
        for done in [pool.submit(work, number) for number in range(WORKERS)]:
            done.result()
    return seen


# --- live: the engine's flash is written by the node itself ---------------------------------------


class CutsAtFlash(Board, Protocol):
    """What an engine with ``Capability.POWER_CUT_AT_FLASH`` has on top."""

    async def cut_at_flash(self, operation: int) -> None:
        """Lose the power before the node's n-th operation on its flash from now; 0: never."""

    async def wait_for_cut(self, limit_s: float) -> bool:
        """True when the power was lost, False after ``limit_s`` of the board's time without."""


#: A configuration write takes 30 operations, a boot 20, a compaction 120 and an erase.
MOST_OPERATIONS = 400
#: Of the board's time: an answer comes in milliseconds, a boot in less than this.
WAIT_S = 5.0


async def set_period(board: CutsAtFlash) -> None:
    """What a master does: write one setting. Nobody waits for the answer."""
    body = bytes((UNIT, 6, PERIOD >> 8, PERIOD & 0xFF, NEW >> 8, NEW & 0xFF))
    crc = crc16(body)
    board.wire("line").write(body + bytes((crc & 0xFF, crc >> 8)))


async def restart(board: CutsAtFlash) -> None:
    """The reset pin; the boot takes an epoch, unless the power goes first."""
    with suppress(EngineError):
        await board.reset(Reset.WARM)


@pytest.mark.asyncio
@pytest.mark.timeout(3600)
@pytest.mark.needs(Capability.POWER_CUT_AT_FLASH, Capability.FLASH_WRITES)
@pytest.mark.parametrize("name", SCENARIOS)
async def test_power_cut_at_every_flash_operation(
    engine: Engine, hil_folder: Path, library: CDLL, name: str, record_property: Property
) -> None:
    act: Callable[[CutsAtFlash], Awaitable[None]] = restart
    content = commissioned(library, records(), (PERIOD, OLD))
    settings = {OLD}
    if name == "configuration write":
        act, settings = set_period, {OLD, NEW}
    elif name == "compaction":
        # Room for the epoch of one boot (two records of 40 bytes) and not for a second one's.
        content = filled(library, content, 160)
    async with engine:
        board = cast("CutsAtFlash", await engine.board(SPEC, hil_folder / "node"))
        for number in range(1, MOST_OPERATIONS):
            await board.write_flash(content)
            shown = cast(int, (await board.start())["boot_epoch"])
            await board.cut_at_flash(number)
            acting = asyncio.ensure_future(act(board))
            cut = await board.wait_for_cut(WAIT_S)
            acting.cancel()
            with suppress(asyncio.CancelledError, EngineError):
                await acting
            await board.kill()
            found = survey(await board.read_flash()).records
            assert found["board"] == records()["board"], f"cut at operation {number}"
            boot = await board.start()
            assert cast(int, boot["boot_epoch"]) > shown, f"cut at operation {number}"
            stored = survey(await board.read_flash()).records["config"]
            assert int.from_bytes(stored[6 + 2 * PERIOD : 8 + 2 * PERIOD]) in settings, number
            await board.kill()
            if not cut:
                break
        else:
            raise AssertionError(f"the node still writes after {MOST_OPERATIONS} operations")
    assert number > 10, "the node must have written something"
    record_property("power cuts at flash: " + name, number - 1)
