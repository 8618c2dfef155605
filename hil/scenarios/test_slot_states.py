"""Whatever a power cut leaves of an update in the flash, the real image starts the old or the new.

The states are those of the image's own C code on the host (``hil/flash/slot_runs.py``), with real
images, signatures and sectors; the emulated board boots from each, and must do what the host says
for a flash that takes nothing, as the emulator's.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from boards.application import base_of, romfs
from boards.folder import default_name, tables
from boards.records import commission_of, key_content, records_of
from boards.recordstore import SECTOR_BYTES
from hil.engines.abilities import Capability, DebugBoard, DebugsBoards
from hil.engines.base import Engine
from hil.engines.images import image_of
from hil.engines.wiring import STORE_ADDRESS
from hil.errors import NoCompilerError
from hil.flash.slot_runs import Step, states_of, steps
from hil.flash.slots_model import ModelBoard, SlotsModel, compile_slots

KEY: Final = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
IMAGES: Final = (romfs({"notes.txt": b"first"}), romfs({"notes.txt": b"second"}))
SLOTS_ADDRESS: Final[int] = tables(default_name(), "peripherals.toml")["memory"]["slots"]["base"]
_BLOCK: Final = 1024
_LIMIT_S: Final = 20.0
#: Every so many states where not all are asked for; a boot takes 0.1 s.
FEW: Final = 700


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return compile_slots(tmp_path_factory.mktemp("slots"))
    except NoCompilerError as error:
        pytest.skip(f"NOT TESTED: the states of the slots: {error}")


class SlotBooter:
    """Boots a board from contents of its slots and its record store."""

    def __init__(self, board: DebugBoard) -> None:
        self._board = board
        self._content = b""

    async def boot(self, content: bytes) -> tuple[object, ...]:
        """Return slot, version, trial and outcome as the board prints them."""
        await self._board.stop()
        for at in range(0, len(content), _BLOCK):
            block = content[at : at + _BLOCK]
            if self._content[at : at + _BLOCK] != block:
                store = at - 2 * SECTOR_BYTES
                address = SLOTS_ADDRESS + at if store < 0 else STORE_ADDRESS + store
                await self._board.write_memory(address, block)
        self._content = content
        await self._board.restart()
        line = await self._board.console.wait_json("slot", _LIMIT_S)
        await self._board.console.wait_json("boot_epoch", _LIMIT_S)
        return tuple(line[name] for name in ("slot", "version", "trial", "outcome"))


def all_states(model: SlotsModel, all_steps: list[Step]) -> Iterator[tuple[str, bytes, Step]]:
    """Yield each content that a cut can leave."""
    for step in all_steps:
        for where, state in states_of(model, step):
            yield where, state, step


def distinct(model: SlotsModel, all_steps: list[Step]) -> Iterator[tuple[str, bytes, Step]]:
    """Yield each content once."""
    seen: set[bytes] = set()
    for where, state, step in all_states(model, all_steps):
        mark = hashlib.blake2b(state, digest_size=16).digest()
        if mark not in seen:
            seen.add(mark)
            yield where, state, step


async def boot_states(engine: DebugsBoards, folder: Path, library: Path, every: int) -> int:
    """Boot from the states; return how many. AssertionError names the cut."""
    elf = await asyncio.to_thread(image_of, default_name())
    image = elf.with_name("firmware.bin").read_bytes()
    made = ModelBoard(default_name().encode(), base_of(image), SECTOR_BYTES, KEY.sign)
    model = SlotsModel(library, made=made)
    commission = commission_of("water", {"unit_id": 7}, "000102030405060708090a0b")
    records = records_of(commission, key_content(7, "5a" * 32), KEY.public_key().public_bytes_raw())
    known = steps(model, 0, records, IMAGES)
    source = distinct if every == 1 else all_states
    count = 0
    async with engine.debug_board(folder / "board") as board:
        booter = SlotBooter(board)
        for where, state, step in islice(source(model, known), 0, None, every):
            count += 1
            model.content = state
            wanted = model.boot(cut_after=0)  # the emulator's flash takes nothing
            found = await booter.boot(state)
            host = (wanted.running, wanted.version, wanted.trial, wanted.outcome)
            assert found == host, f"{where}: {found}, on the host {host}"
            assert found[1] in {1, *step.allowed}, where
    return count


@pytest.mark.asyncio
@pytest.mark.timeout(300)
@pytest.mark.needs(Capability.FLASH_IMAGE, Capability.IMAGE)
async def test_some_states_of_an_update_boot(
    engine: Engine, hil_folder: Path, library: Path
) -> None:
    if not isinstance(engine, DebugsBoards):
        pytest.skip("no debugger writes its flash")
    async with engine:
        assert await boot_states(engine, hil_folder, library, FEW) > 5


@pytest.mark.exhaustive
@pytest.mark.asyncio
@pytest.mark.timeout(3600)
@pytest.mark.needs(Capability.FLASH_IMAGE, Capability.IMAGE)
async def test_every_state_of_an_update_boots(
    engine: Engine, hil_folder: Path, library: Path
) -> None:
    if not isinstance(engine, DebugsBoards):
        pytest.skip("no debugger writes its flash")
    async with engine:
        assert await boot_states(engine, hil_folder, library, 1) > 4000
