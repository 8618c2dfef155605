"""From a blank board to a proven node over USB and over SWD: the flash that was written is run."""

import json
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from boards.build import build
from boards.elf import read_symbols
from boards.folder import default_name
from boards.recordstore import contents
from hil.boot_rom.chip import BootRom
from hil.boot_rom.started import StartedBoard
from protocols.station_log import proven_boards
from tests.unit.boards.flash.programs import LAYOUT, FakeBoard, install

from .flash_bench import run_flash

UID = bytes.fromhex("43002a001851363135333137")
#: Of the same chip: id[11], id[10] + id[2], id[9], id[8] + id[0], id[7], id[6], by hand.
SERIAL = "375B33783136"
pytestmark = [
    pytest.mark.tool("qemu-system-arm", "arm-none-eabi-gcc"),
    pytest.mark.timeout(300),
]


@contextmanager
def started_by(board: FakeBoard, node: StartedBoard) -> Iterator[None]:
    """Run what the program's flash holds once the program starts the chip."""
    os.mkfifo(board.pipe)

    def wait() -> None:
        while board.pipe.read_text():
            assert node.rom is not None
            node.rom.flash[:] = board.flash
            node.go(0)

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        yield
    finally:
        with board.pipe.open("w"):
            pass
        thread.join()


@pytest.mark.parametrize("way", ["dfu", pytest.param("swd", marks=pytest.mark.exhaustive)])
def test_a_blank_board_becomes_a_proven_node(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = build(default_name())
    if way == "dfu":
        plugged = {"path": "1-2.3", "layout": LAYOUT, "serial": SERIAL}
        board = install("dfu-util", tmp_path, monkeypatch, boards=[plugged])
    else:
        board = install("openocd", tmp_path, monkeypatch, probe="066EFF", uid=UID.hex())
    with StartedBoard(tmp_path, symbols=read_symbols(image.elf)) as node:
        node.rom = BootRom(UID)
        words = ["--method", way, "--bus-port", node.bus_port, "--role", "air", "--unit", "7"]
        words += ["--set", "sample_period_ds=5", "--json"]
        with started_by(board, node):
            done = run_flash(tmp_path, node, words)
        assert done.returncode == 0, done.stderr
        assert node.starts == 2
        flash = bytes(node.rom.flash)
    report = json.loads(done.stdout)
    assert report["uid"] == report["proof"]["uid"] == UID.hex()
    assert report["image"] == report["proof"]["image"] == image.digest
    assert report["proof_after_power_cycle"]["boot_epoch"] > report["proof"]["boot_epoch"]
    assert [Path(each).suffix for each in report["label"]] == [".png", ".pdf", ".zpl"]
    assert board.flash[: image.flash_bytes] == image.bin.read_bytes()
    (key,) = (tmp_path / "keys").iterdir()
    assert key.name == f"{UID.hex()}-1.json"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    held = json.loads(key.read_text())
    assert held["uid"] == UID.hex()
    assert json.loads(contents(flash[0xC0000:])["node.key"])["key"] == held["key"]
    assert list((tmp_path / "tmp").rglob("*")) == []
    lines = [json.loads(line) for line in (tmp_path / "station.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["begun", "proven", "labelled"]
    known = "" if way == "dfu" else UID.hex()
    assert [line["uid"] for line in lines] == [known, UID.hex(), UID.hex()]
    assert {line.get("usb_serial") for line in lines} == {SERIAL if way == "dfu" else None}
    how = {"dfu": "read back by DFU upload (dfu-util)", "swd": "read back over SWD (openocd)"}
    assert lines[1]["verified_by"] == how[way]
    assert list(proven_boards(lines)) == [UID.hex()]
