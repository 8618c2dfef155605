"""From a blank board to a node that has proven itself, in one command, with the real image."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from boards.build import build
from boards.folder import default_name
from hil.boot_rom.cable import BootRomBoard
from hil.boot_rom.chip import BootRom
from hil.boot_rom.started import StartedBoard

UID = bytes(range(0x21, 0x2D))
pytestmark = [
    pytest.mark.tool("qemu-system-arm", "arm-none-eabi-gcc"),
    pytest.mark.timeout(300),
]


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "tianfu-node"), "flash", *words]
    return subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
        env=os.environ,
    )


def test_a_blank_board_becomes_a_proven_node(tmp_path: Path) -> None:
    image = build(default_name())
    with StartedBoard(tmp_path) as node:
        rom = BootRom(UID, on_go=node.go)
        node.rom = rom
        words = ("--role", "air", "--unit", "7", "--set", "sample_period_ds=5", "--json")
        with BootRomBoard(rom, tmp_path) as board:
            ports = ("--port", str(board.port), "--bus-port", node.bus_port)
            done = run(tmp_path, *ports, *words)
            assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert bytes(rom.flash[: image.flash_bytes]) == image.bin.read_bytes()
    assert report["image"] == image.digest
    assert report["proof"]["uid"] == report["uid"] == UID.hex()
    assert report["proof"]["image"] == image.digest
    assert report["proof"]["role"] == "air"
    assert report["proof"]["seq"] >= 1
    key = tmp_path / report["key_file"]
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    secret = json.loads(key.read_text())["key"]
    assert secret.encode() in bytes(rom.flash)
    left = [path for path in tmp_path.rglob("*") if path.is_file() and path != key]
    assert [path for path in left if secret.encode() in path.read_bytes()] == []
    assert secret not in done.stdout + done.stderr
