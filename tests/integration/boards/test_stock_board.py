"""A node of files on a MicroPython that has no node of its own running, by ``machine`` alone.

The MicroPython is the one of our image under QEMU, not commissioned, so that it waits at its REPL.
Its RAM disk, kept in the record store over a restart, stands in for the flash of a stock board;
firmware and protocols are the frozen ones, because both would not fit its RAM. What is new on a
stock board comes from the disk: the generic board, main.py, commission and key.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest
import serial

from boards.build import build
from boards.elf import read_symbols
from boards.flash import stock
from boards.flash.errors import FlashingError
from boards.flash.methods import micropython
from boards.flash.methods.micropython import ReplBoard
from boards.flash.node_files import compiled, digest_of, main_of
from boards.flash.run import POWER_CYCLE, FlashRequest, flash
from boards.folder import default_name
from hil.boot_rom.chip import BootRom
from hil.boot_rom.started import StartedBoard

pytestmark = [
    pytest.mark.tool("qemu-system-arm", "arm-none-eabi-gcc"),
    pytest.mark.timeout(300),
]
DISK: Final = (Path(__file__).parent / "ram_disk.py").read_text()
#: The wiring of the image's board, as main.py of a stock STM32 names it. QEMU has no transceiver:
#: the pin for its direction is one that nothing else uses.
WIRING: Final[Mapping[str, object]] = {
    "line": (2, {}, "PE2"),
    "parts": {"pms5003": ((3, {}, None), 9600), "mhz19b": ((6, {}, None), 9600)},
    "adc": {"ph": "PC1", "turbidity": "PC2"},
    "i2c": (1, {}),
    "onewire": "PB4",
}


@pytest.fixture
def node(tmp_path: Path) -> Iterator[StartedBoard]:
    """Yield a board whose MicroPython waits at its REPL; what it keeps, it keeps in its flash."""
    image = build(default_name())
    with StartedBoard(tmp_path, symbols=read_symbols(image.elf)) as node:
        node.rom = BootRom(bytes(range(1, 13)))
        content = image.bin.read_bytes()
        node.rom.flash[: len(content)] = content
        node.go(0)
        await_prompt(node.console_port)
        yield node


def await_prompt(repl: Path | str) -> None:
    """Wait until MicroPython waits for input; what is typed while it starts is lost."""
    with serial.Serial(str(repl), timeout=20) as console:
        assert console.read_until(b">>> ").endswith(b">>> ")


def start_by_itself(board: ReplBoard) -> None:
    """Do what a stock MicroPython does after a reset: mount the file system, run main.py."""
    board.command(DISK)
    board.folder = "/ram"
    board.start()


@pytest.mark.provokes("TF-FLASH-026", "TF-FLASH-027", "TF-FLASH-028", "TF-FLASH-030")
def test_copied_files_become_a_node_that_proves_itself(
    node: StartedBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repl, bus = node.console_port, node.bus_port
    files = {**compiled(("boards/generic",)), "main.py": main_of(WIRING)}
    counts: list[tuple[int, int]] = []

    def seen(done: int, total: int) -> None:
        counts.append((done, total))

    with ReplBoard(repl, "rp2") as board, pytest.raises(FlashingError, match="rp2, found stm32f4"):
        board.identify()
    with ReplBoard(repl, "stm32f405") as board:
        board.command(DISK)
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

    reset = ReplBoard.reset

    def restarted(board: ReplBoard) -> None:
        reset(board)
        board._transport.read_until(1, b">>> ", timeout_overall=20)
        board._transport.enter_raw_repl(False, 10)
        start_by_itself(board)

    def power_cycle() -> None:
        node.power_cycle()
        await_prompt(repl)
        with ReplBoard(repl, "stm32f405") as board:
            start_by_itself(board)

    monkeypatch.setattr(ReplBoard, "reset", restarted)
    monkeypatch.setattr(stock, "PLATFORMS", {"stm32": "stm32f405"})
    monkeypatch.setattr(stock, "compiled", lambda: compiled(("boards/generic",)))
    monkeypatch.setattr(stock, "main_file", lambda board: files["main.py"])
    held: list[bytes] = []
    read_bytes = Path.read_bytes

    def kept(path: Path) -> bytes:
        content = read_bytes(path)
        if path.parent.name == "keys":
            held.append(content)
        return content

    monkeypatch.setattr(Path, "read_bytes", kept)
    settings = {"unit_id": 9, "sample_period_ds": 5}
    keys, log = tmp_path / "keys", tmp_path / "station.jsonl"
    wish = FlashRequest("pyboard_v11", "air", settings, repl, 115200, bus, keys, log)
    steps = Steps(power_cycle)
    report = flash(wish, steps)
    assert report.proof is not None
    assert (report.proof.role, report.proof.key_id, report.uid) == ("air", 1, found.uid)
    assert report.proof.image == report.image == digest_of(files)
    assert report.proof.seq >= 1
    again = report.proof_after_power_cycle
    assert again is not None
    assert again.boot_epoch > report.proof.boot_epoch
    assert (again.uid, again.image, again.reset_cause) == (found.uid, report.image, 0)
    assert steps.done == [
        *("identify", "plan", "copy the files", "write the records", "prove"),
        "prove after a power cycle",
    ]
    assert report.key_file == keys / f"{found.uid}-1.json"
    last = json.loads(log.read_text().splitlines()[-1])
    assert (last["event"], last["verified_by"]) == ("proven", micropython.VERIFIED_BY)
    assert held, "the key was read to be copied"
    assert not any(map(any, held)), "and overwritten after that"


class Steps:
    """Keeps the steps that were done, and does what is asked for."""

    def __init__(self, power_cycle: Callable[[], None]) -> None:
        self._power_cycle = power_cycle
        self.done: list[str] = []
        self._step = ""

    def begin(self, step: str) -> None:
        self._step = step

    def progress(self, done: int, total: int) -> None:
        assert 0 <= done <= total

    def end(self, text: str) -> None:
        self.done.append(self._step)

    def ask(self, text: str) -> None:
        assert text == POWER_CYCLE
        self._power_cycle()


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
