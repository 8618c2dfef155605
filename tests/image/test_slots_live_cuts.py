"""The power is cut live at operations of an update on the flash: the node goes on after each.

The real image on QEMU erases, writes, orders, tries and confirms an application through its own
flash driver. At the n-th operation of all that the power goes, and the word or the sector is left
as the chip may leave it. What starts then is the base or the ordered image, and the update goes on
to its end. ``hil/scenarios/test_slot_states.py`` boots from every single state; the node itself
makes those here.
"""

import random
from pathlib import Path

import pytest

from hil.boot_rom.flash_writes import LiveCut
from tests.image.test_port import Emulator
from tests.image.test_slots import (
    CONFIRMED,
    ON_TRIAL,
    PENDING,
    PUBLIC,
    LiveFlash,
    made,
)

pytestmark = [pytest.mark.tool("qemu-system-arm"), pytest.mark.timeout(3000)]

MOST = 1000  # operations; an update of this image takes some 125
BASE, NEW = [0, 0], [1, 7]  # slot and version


def receive(node: Emulator, manifest: bytes, image: bytes) -> None:
    """Take the image and the order, whatever the slot has."""
    node.run(
        f"m = {manifest!r}; i = {image!r}\n"
        "assert slots.check(m) == 0 and slots.erase() and slots.write(0, i)\n"
        "assert slots.order(m) == 0"
    )


def update(live: LiveFlash, file: bytes, cut: LiveCut | None = None) -> None:
    """Go on with an update from where it is, until it is confirmed or the power is cut."""
    try:
        while not step(live, file, cut):
            pass
    except (AssertionError, OSError):  # the emulator was killed
        if cut is None or not cut.happened:
            raise


def step(live: LiveFlash, file: bytes, cut: LiveCut | None) -> bool:
    """Do what is to be done between two boots; return whether the image is confirmed."""
    with live.powered(cut) as node:
        status = node.value("slots.status()")
        assert isinstance(status, list)
        if status[4] == ON_TRIAL:
            assert node.value("slots.confirm()") is True
        elif status[4] != CONFIRMED:
            receive(node, file[:160], file[160:])
            assert node.value("slots.status()[4]") == PENDING
            return False
    return True


def cut_at(live: LiveFlash, blank: bytes, file: bytes, number: int) -> str:
    """Cut the power at this operation, look what starts, and go on; return what was cut."""
    live.rom.flash[:] = blank
    cut = LiveCut(number, random.Random(number), lambda: None)
    update(live, file, cut)
    if not cut.happened:
        return ""
    where = f"operation {number}, {cut.happened}"
    with live.powered() as node:
        status = node.value("slots.status()")
    assert isinstance(status, list)
    assert status[:2] in (BASE, NEW), where
    assert status[4] not in (4, 5, 6), f"{where}: a power cut is no failed trial: {status}"
    update(live, file)
    with live.powered() as node:
        assert node.value("slots.status()") == [1, 7, 5, 0, CONFIRMED, 2], where
    return cut.happened


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, board_image: Path) -> bytes:
    """A signed file with a small application."""
    return made(tmp_path_factory.mktemp("small"), board_image, {"extra/__init__.py": ""})


def test_some_cuts_of_an_update_live(board_image: Path, tmp_path: Path, file: bytes) -> None:
    live = LiveFlash(board_image, tmp_path, {"release": PUBLIC})
    blank = bytes(live.rom.flash)
    assert cut_at(live, blank, file, 3).startswith("erase")
    assert cut_at(live, blank, file, 90).startswith("word"), "of the record that orders it"


@pytest.mark.exhaustive
def test_every_cut_of_an_update_live(board_image: Path, tmp_path: Path, file: bytes) -> None:
    live = LiveFlash(board_image, tmp_path, {"release": PUBLIC})
    blank = bytes(live.rom.flash)
    for number in range(1, MOST):
        if not cut_at(live, blank, file, number):
            break
    assert 100 < number < MOST - 1
