"""A node of files on a MicroPython that has no node of its own running, by ``machine`` alone.

The MicroPython is the one of our image under QEMU, not commissioned, so that it waits at its REPL.
Its RAM disk stands in for the flash of a stock board; firmware and protocols are the frozen ones,
because both would not fit its RAM. What is new on a stock board comes from the disk: the generic
board, main.py, commission and key.
"""

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
import serial

from boards.build import build
from boards.flash import stock
from boards.flash.errors import FlashingError
from boards.flash.methods import micropython
from boards.flash.methods.micropython import ReplBoard
from boards.flash.node_files import compiled, digest_of, main_of
from boards.flash.prove import NodeProver
from boards.flash.run import FlashRequest, flash
from boards.folder import default_name
from hil.engines.qemu_command import MACHINE, find_qemu

pytestmark = [
    pytest.mark.tool("qemu-system-arm", "arm-none-eabi-gcc"),
    pytest.mark.timeout(300),
]
#: The wiring of the image's board, as main.py of a stock STM32 names it. QEMU has no transceiver:
#: the pin for its direction is one that nothing else uses.
WIRING: Final[Mapping[str, object]] = {
    "line": (2, {}, "PE2"),
    "parts": {"pms5003": ((3, {}, None), 9600), "mhz19b": ((6, {}, None), 9600)},
    "adc": {"ph": "PC1", "turbidity": "PC2"},
    "i2c": (1, {}),
    "onewire": "PB4",
}


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Yield the terminals of a board's REPL and of its bus."""
    image = build(default_name()).bin.read_bytes()
    flash = tmp_path_factory.mktemp("stock") / "flash.bin"
    flash.write_bytes(image.ljust(1 << 20, b"\xff"))
    words = [str(find_qemu()), "-M", MACHINE, "-nodefaults", "-display", "none"]
    words += ["-kernel", str(flash), "-serial", "pty", "-serial", "pty"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        try:
            found: list[str] = []
            while len(found) < 2:
                line = process.stdout.readline().decode()
                assert line, "QEMU ended"
                found += re.findall(r"redirected to (/dev/pts/\d+)", line)
            yield found[0], found[1]
        finally:
            process.kill()


@pytest.mark.provokes("TF-FLASH-026", "TF-FLASH-027", "TF-FLASH-028", "TF-FLASH-030")
def test_copied_files_become_a_node_that_proves_itself(
    ports: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repl, bus = ports
    files = {**compiled(("boards/generic",)), "main.py": main_of(WIRING)}
    counts: list[tuple[int, int]] = []

    def seen(done: int, total: int) -> None:
        counts.append((done, total))

    with ReplBoard(repl, "rp2") as board, pytest.raises(FlashingError, match="rp2, found stm32f4"):
        board.identify()
    with ReplBoard(repl, "stm32f405") as board:
        board.command((Path(__file__).parent / "ram_disk.py").read_text())
        with monkeypatch.context() as patch:
            patch.setattr(micropython, "MPY_VERSION", 5)
            with pytest.raises(FlashingError, match="expected bytecode 5, found 6"):
                board.identify()
        found = board.identify()
        assert found.folder == "/ram"
        board.copy({**files, "firmware/old.mpy": b"old"}, seen)
        assert counts[-1][0] == counts[-1][1]
        for name, content in files.items():
            assert board.hash_of(name) == hashlib.sha256(content).digest()
        board.copy({"folder/file": b""}, seen)
        with pytest.raises(FlashingError, match="TF-FLASH-028"):
            board.copy({"folder": b"a folder of that name is there"}, seen)
        board.command("keep = Open.write\nOpen.write = lambda self, buf: len(buf)")
        with pytest.raises(FlashingError, match="TF-FLASH-030"):
            board.copy({"other": b"what the medium does not take"}, seen)
        board.command("Open.write = keep")

    # A reset and a power cycle would empty the RAM disk: the node is started as a reset would.
    monkeypatch.setattr(ReplBoard, "reset", ReplBoard.start)
    monkeypatch.setattr(
        NodeProver, "prove_again", lambda _, first, *rest: replace(first, boot_epoch=2)
    )
    monkeypatch.setattr(stock, "PLATFORMS", {"stm32": "stm32f405"})
    monkeypatch.setattr(stock, "compiled", lambda: compiled(("boards/generic",)))
    monkeypatch.setattr(stock, "main_file", lambda board: files["main.py"])
    settings = {"unit_id": 9, "sample_period_ds": 5}
    keys, log = tmp_path / "keys", tmp_path / "station.jsonl"
    wish = FlashRequest("pyboard_v11", "air", settings, repl, 115200, bus, keys, log)
    steps = Steps()
    report = flash(wish, steps)
    assert report.proof is not None
    assert (report.proof.role, report.proof.key_id, report.uid) == ("air", 1, found.uid)
    assert report.proof.image == report.image == digest_of(files)
    assert report.proof.seq >= 1
    assert steps.done == [
        *("identify", "plan", "copy the files", "write the records", "prove"),
        "prove after a power cycle",
    ]
    assert report.key_file == keys / f"{found.uid}-1.json"
    last = json.loads(log.read_text().splitlines()[-1])
    assert (last["event"], last["verified_by"]) == ("proven", micropython.VERIFIED_BY)


class Steps:
    """Keeps the steps that were done."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self._step = ""

    def begin(self, step: str) -> None:
        self._step = step

    def progress(self, done: int, total: int) -> None:
        assert 0 <= done <= total

    def end(self, text: str) -> None:
        self.done.append(self._step)

    def ask(self, text: str) -> None: ...


@pytest.mark.provokes("TF-FLASH-025")
def test_a_port_without_a_repl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(micropython, "_REPL_S", 0.5)
    near, far = os.openpty()
    try:
        with pytest.raises(FlashingError, match="TF-FLASH-025"):
            ReplBoard(os.ttyname(far)).__enter__()
    finally:
        os.close(near)
        os.close(far)


@pytest.mark.provokes("TF-FLASH-002")
def test_a_port_that_somebody_else_has_is_named_as_busy() -> None:
    near, far = os.openpty()
    path = os.ttyname(far)
    try:
        with (
            serial.Serial(path, exclusive=True),
            pytest.raises(FlashingError, match="TF-FLASH-002"),
        ):
            ReplBoard(path).__enter__()
    finally:
        os.close(near)
        os.close(far)
