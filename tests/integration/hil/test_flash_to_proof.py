"""From a blank board to a node that has proven itself, in one command, with the real image."""

import json
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import PIL.Image
import pytest
import zxingcpp
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from boards.build import Image, build
from boards.elf import read_symbols
from boards.folder import default_name
from boards.label import Label
from boards.recordstore import contents
from hil.boot_rom.cable import BootRomBoard
from hil.boot_rom.chip import BootRom
from hil.boot_rom.started import StartedBoard

from .flash_bench import run_flash

UID = bytes(range(0x21, 0x2D))
RELEASE = Ed25519PrivateKey.generate().public_key()
pytestmark = [
    pytest.mark.tool("qemu-system-arm", "arm-none-eabi-gcc"),
    pytest.mark.timeout(300),
]


class Bench:
    """A station's ``folder``, a board in its bootloader, and the node that its flash becomes."""

    def __init__(self, folder: Path, board: BootRomBoard, node: StartedBoard) -> None:
        self.folder = folder
        self.board = board
        self.node = node
        self.temporary = folder / "tmp"

    def flash(self) -> subprocess.CompletedProcess[str]:
        """Run the one command, the same each time."""
        command = ["--json", "--port", str(self.board.port), "--bus-port", self.node.bus_port]
        command += ["--role", "air", "--unit", "7", "--set", "sample_period_ds=5"]
        public = RELEASE.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (self.folder / "release.pub").write_bytes(public)
        return run_flash(self.folder, self.node, [*command, "--release-key", "release.pub"])


@contextmanager
def bench(folder: Path, pull_at: int | None = None, keeps_power: bool = False) -> Iterator[Bench]:
    """A blank board; the cable is pulled when it has got so many bytes."""
    folder.mkdir(exist_ok=True)
    symbols = read_symbols(build(default_name()).elf)
    with StartedBoard(folder, symbols=symbols) as node:
        rom = BootRom(UID, on_go=node.go)
        node.rom = rom
        with BootRomBoard(rom, folder, pull_at, keeps_power) as board:
            yield Bench(folder, board, node)


def check(made: Bench, done: subprocess.CompletedProcess[str], image: Image) -> None:
    """The node has proven itself, the chip holds the image, and the key is in two places alone."""
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    flash = bytes(made.board.rom.flash)
    assert flash[: image.flash_bytes] == image.bin.read_bytes()
    assert report["image"] == report["proof"]["image"] == image.digest
    assert report["proof"]["uid"] == report["uid"] == UID.hex()
    assert report["proof"]["role"] == "air"
    assert report["proof"]["seq"] >= 1
    again = report["proof_after_power_cycle"]
    assert (again["uid"], again["image"], again["reset_cause"]) == (report["uid"], image.digest, 0)
    assert again["boot_epoch"] > report["proof"]["boot_epoch"]
    assert len(report["human_actions"]) <= 3
    label = Label(default_name(), "air", 7, UID.hex(), image.digest, report["proof"]["key_id"])
    picture, sheet, _ = (made.folder / name for name in report["label"])
    scanned = zxingcpp.read_barcode(PIL.Image.open(picture))
    assert scanned is not None
    assert scanned.text == label.text
    assert sheet.read_bytes().startswith(b"%PDF-")
    key = made.folder / report["key_file"]
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    secret = json.loads(key.read_text())["key"]
    assert json.loads(contents(flash[0xC0000:])["node.key"])["key"] == secret
    assert contents(flash[0xC0000:])["release"] == RELEASE.public_bytes_raw()
    # The bench's own copy of the flash, which QEMU runs, is not the station's.
    files = [path for path in made.folder.rglob("*") if path.is_file() and path.name != "flash.bin"]
    assert [path for path in files if secret.encode() in path.read_bytes()] == [key]
    assert secret not in done.stdout + done.stderr
    assert list(made.temporary.rglob("*")) == []


def test_a_blank_board_becomes_a_proven_node(tmp_path: Path) -> None:
    image = build(default_name())
    with bench(tmp_path) as made:
        check(made, made.flash(), image)
        assert made.node.starts == 2


@pytest.mark.exhaustive
@pytest.mark.timeout(900)
@pytest.mark.parametrize("keeps_power", [False, True])
def test_a_cable_pulled_at_every_tenth_is_recovered_by_the_same_command(
    tmp_path: Path, keeps_power: bool
) -> None:
    image = build(default_name())
    with bench(tmp_path / "whole") as made:
        check(made, made.flash(), image)
        total = made.board.taken
    for tenth in range(10):
        with bench(tmp_path / str(tenth), 1 + total * tenth // 10, keeps_power) as made:
            pulled = made.flash()
            assert pulled.returncode == 1
            assert "TF-FLASH-004: " in pulled.stderr
            assert made.node.starts == 0
            check(made, made.flash(), image)
            assert made.board.pulls == 1
