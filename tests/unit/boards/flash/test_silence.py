"""What is found out about a board beyond its silence: it is in its bootloader still."""

import os
import tty
from pathlib import Path

import pytest

from boards import node_line
from boards.flash.errors import FlashingError
from boards.flash.run import FlashRequest, flash
from boards.folder import default_name
from hil.boot_rom.cable import BootRomBoard
from hil.boot_rom.chip import BootRom

UID = bytes(range(1, 13))


class Nobody:
    def begin(self, step: str) -> None: ...

    def progress(self, done: int, total: int) -> None: ...

    def end(self, text: str) -> None: ...

    def ask(self, text: str) -> None: ...


@pytest.mark.provokes("TF-FLASH-055")
def test_a_board_whose_boot0_is_still_high(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command go leads nowhere: after the reset the bootloader runs again."""
    monkeypatch.setattr(node_line, "_ANSWER_S", 0.05)
    image = tmp_path / "image.bin"
    image.write_bytes(bytes.fromhex("0040002009000008") + b"image")
    near, far = os.openpty()
    tty.setraw(far)
    try:
        with BootRomBoard(BootRom(UID), tmp_path) as board:
            request = FlashRequest(
                board=default_name(),
                role="air",
                settings={"unit_id": 7},
                port=str(board.port),
                baud=115200,
                bus_port=os.ttyname(far),
                keys=tmp_path / "keys",
                log=tmp_path / "station.jsonl",
                image=image,
                prove_s=0.2,
            )
            with pytest.raises(FlashingError, match=r"^TF-FLASH-055: .*BOOT0 low"):
                flash(request, Nobody())
    finally:
        os.close(near)
        os.close(far)
