"""Debian's openocd and dfu-util take what the flash methods hand to them."""

import random
import subprocess
from pathlib import Path

import pytest

from boards.flash.errors import FlashingError
from boards.flash.methods.dfu import dfuse_file
from boards.flash.methods.swd import SwdMethod
from boards.flash.target import target_of
from boards.folder import default_name
from hil.tools import TOOLS

AT = 0x08000000
IMAGE = random.Random(14).randbytes(40_001)
#: OpenOCD's own test parts: an adapter, a chip and a flash that are nothing but software.
NOTHING = (
    *("-c", "adapter driver dummy", "-c", "adapter speed 100"),
    *(
        "-c",
        "jtag newtap chip cpu -irlen 4",
        "-c",
        "target create cpu testee -chain-position chip.cpu",
    ),
    *("-c", "flash bank bank faux 0x08000000 0x100000 0 0 cpu"),
)


@pytest.mark.tool("openocd")
def test_openocd_runs_the_commands_that_erase_and_write() -> None:
    counts: list[tuple[int, int]] = []
    with SwdMethod(target_of(default_name()), config=NOTHING) as method:
        method.erase([0, 1, 2], lambda done, total: counts.append((done, total)))
        assert counts[-1] == (3, 3)
        method.write(AT, IMAGE, lambda done, total: counts.append((done, total)))
        assert counts[-1] == (3, 3)
        method.start(AT)


@pytest.mark.tool("openocd")
def test_openocd_knows_the_commands_that_read(tmp_path: Path) -> None:
    """Its test chip has no memory: it says so, and no word about the command."""
    with SwdMethod(target_of(default_name()), config=NOTHING) as method:
        for step in (method.identify, lambda: method.read(AT, 70_000, lambda done, total: None)):
            with pytest.raises(FlashingError, match="doesn't support read_memory"):
                step()


@pytest.mark.tool("openocd")
def test_openocd_without_a_probe_is_a_row_of_the_table() -> None:
    method = SwdMethod(target_of(default_name()), "066EFF")
    with pytest.raises(FlashingError, match="TF-FLASH-016"):
        method.identify()


@pytest.mark.tool("dfu-suffix")
def test_dfu_util_accepts_the_file(tmp_path: Path) -> None:
    file = tmp_path / "image.dfu"
    file.write_bytes(dfuse_file([(AT + 0x4000, IMAGE), (AT, b"\x01" * 256)]))
    program = TOOLS["dfu-suffix"].find()
    done = subprocess.run(
        [str(program), "-c", str(file)], capture_output=True, text=True, check=False, timeout=20
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for line in ("Product ID:\t0xDF11", "Vendor ID:\t0x0483", "BCD DFU:\t0x011A"):
        assert line in done.stdout
