"""Debian's stm32flash finds in the bench's model of the ROM bootloader what it finds in a chip."""

import random
import subprocess
from pathlib import Path

import pytest

from hil.boot_rom.cable import BootRomBoard
from hil.boot_rom.chip import BootRom
from hil.tools import TOOLS

UID = bytes(range(1, 13))

pytestmark = pytest.mark.tool("stm32flash")


def run(board: BootRomBoard, *words: str) -> subprocess.CompletedProcess[str]:
    """Run it with 8N1: it reads back the settings of the port, and a pty has no parity."""
    program = TOOLS["stm32flash"].find()
    return subprocess.run(
        [str(program), "-m", "8n1", *words, str(board.port)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_it_writes_verifies_and_starts(tmp_path: Path) -> None:
    image = random.Random(155).randbytes(50_001)
    (tmp_path / "image.bin").write_bytes(image)
    started: list[int] = []
    rom = BootRom(UID, on_go=started.append)
    rom.flash[:] = b"\x00" * len(rom.flash)
    with BootRomBoard(rom, tmp_path) as board:
        done = run(board, "-w", str(tmp_path / "image.bin"), "-v", "-g", "0x08000000")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0x0413" in done.stdout
    assert bytes(rom.flash[: len(image)]) == image
    assert rom.erased == [0, 1, 2, 3]
    assert started == [0x08000000]


def test_it_reads_what_the_flash_holds(tmp_path: Path) -> None:
    rom = BootRom(UID)
    rom.flash[:5000] = content = random.Random(3155).randbytes(5000)
    with BootRomBoard(rom, tmp_path) as board:
        done = run(board, "-r", str(tmp_path / "read.bin"), "-S", "0x08000000:5000")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "read.bin").read_bytes() == content


def test_a_protected_chip_refuses_it(tmp_path: Path) -> None:
    rom = BootRom(UID, protected=True)
    with BootRomBoard(rom, tmp_path) as board:
        done = run(board, "-r", str(tmp_path / "read.bin"))
    assert done.returncode != 0
    assert rom.protected
