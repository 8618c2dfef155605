"""The way over DFU against a stand-in for dfu-util: what it writes, in which order, and faults."""

import random
from pathlib import Path

import pytest

from boards.errors import ToolMissing
from boards.flash.errors import FlashingError
from boards.flash.job import FlashJob
from boards.flash.method import ChipIdentity
from boards.flash.methods.dfu import DfuMethod, attached
from boards.flash.target import FlashTarget, target_of
from boards.folder import default_name

from .programs import LAYOUT, FakeBoard, install

IMAGE = random.Random(11).randbytes(40_001)
AT = 0x08000000
BOARD = {"path": "1-2.3", "layout": LAYOUT, "serial": "325E35633334"}
SECTORS = (16384,) * 4 + (65536,) + (131072,) * 7


@pytest.fixture
def target() -> FlashTarget:
    return target_of(default_name())


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeBoard:
    return install("dfu-util", tmp_path, monkeypatch, boards=[BOARD])


class Progress:
    def __init__(self) -> None:
        self.seen: list[int] = []

    def __call__(self, done: int, total: int) -> None:
        assert 0 <= done <= total
        self.seen.append(done)


def test_the_first_bytes_are_written_last_into_erased_sectors(
    board: FakeBoard, target: FlashTarget
) -> None:
    board.flash = b"\x00" * len(board.flash)
    progress = Progress()
    with DfuMethod(target) as method:
        assert method.identify() == ChipIdentity(sectors=SECTORS, usb_serial="325E35633334")
        method.write(AT, IMAGE, progress)
        assert method.read(AT, len(IMAGE), progress) == IMAGE
        method.start(AT)
    assert board.events == [
        "erase 0x8004000",
        "erase 0x8008000",
        f"write 0x8004000 {len(IMAGE) - 16384}",
        "erase 0x8000000",
        f"write 0x8000100 {16384 - 256}",
        "write 0x8000000 256",
        "leave 0x08000000",
    ]
    assert board.flash[: len(IMAGE)] == IMAGE
    assert board.flash[0xC000:] == b"\x00" * (len(board.flash) - 0xC000)
    assert progress.seen[-1] == 100


def test_only_the_named_sectors_are_erased(board: FakeBoard, target: FlashTarget) -> None:
    board.flash = b"\x00" * len(board.flash)
    with DfuMethod(target) as method:
        method.erase([10, 11], Progress())
    assert board.flash == b"\x00" * 0xC0000 + b"\xff" * 0x40000


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_cable_that_was_pulled_leaves_nothing_that_starts(
    share: float, board: FakeBoard, target: FlashTarget
) -> None:
    board.set(pull_after=int(len(IMAGE) * share))
    with DfuMethod(target) as method, pytest.raises(FlashingError, match="TF-FLASH-004"):
        method.write(AT, IMAGE, Progress())
    assert board.flash[:256] == b"\xff" * 256
    board.set(boards=[BOARD], pull_after=1 << 40)
    with DfuMethod(target) as method:
        method.write(AT, IMAGE, Progress())
    assert board.flash[: len(IMAGE)] == IMAGE


@pytest.mark.provokes("TF-FLASH-014", "TF-FLASH-015")
def test_no_board_and_two_boards(board: FakeBoard, target: FlashTarget) -> None:
    board.set(boards=[])
    with pytest.raises(FlashingError, match="TF-FLASH-014"):
        DfuMethod(target).open()
    board.set(boards=[BOARD, {**BOARD, "path": "1-2.4"}])
    with pytest.raises(FlashingError, match=r"TF-FLASH-015.*1-2\.3 .*1-2\.4 "):
        DfuMethod(target).open()
    assert [each.path for each in attached()] == ["1-2.3", "1-2.4"]
    with pytest.raises(FlashingError, match=r"TF-FLASH-014.*1-9, found 1-2\.3, 1-2\.4"):
        DfuMethod(target, "1-9").open()
    with DfuMethod(target, "1-2.4") as method:
        method.write(AT, IMAGE, Progress())
    assert board.flash[: len(IMAGE)] == IMAGE


@pytest.mark.parametrize(
    ("state", "code"),
    [
        pytest.param({"no_access": True}, "019", marks=pytest.mark.provokes("TF-FLASH-019")),
        ({"protected": True}, "021"),
        ({"write_protected": [AT]}, "022"),
    ],
)
def test_what_the_program_reports_is_a_row_of_the_table(
    state: dict[str, object], code: str, board: FakeBoard, target: FlashTarget
) -> None:
    board.set(**state)
    with pytest.raises(FlashingError, match=f"TF-FLASH-{code}"), DfuMethod(target) as method:
        method.write(AT, IMAGE, Progress())
    assert board.flash[:256] == b"\xff" * 256


def test_protection_goes_only_by_order(board: FakeBoard, target: FlashTarget) -> None:
    board.set(protected=True)
    board.flash = b"\x00" * len(board.flash)
    with DfuMethod(target) as method:
        method.unlock()
        assert method.read(AT, 4096, Progress()) == b"\xff" * 4096


def test_a_chip_with_another_flash_is_refused(board: FakeBoard, target: FlashTarget) -> None:
    board.set(boards=[{**BOARD, "layout": "@Internal Flash  /0x08000000/128*002Kg"}])

    class Watcher:
        def begin(self, step: str) -> None: ...
        def progress(self, done: int, total: int) -> None: ...
        def end(self, text: str) -> None: ...
        def ask(self, text: str) -> None: ...

    with (
        DfuMethod(target) as method,
        pytest.raises(FlashingError, match=r"020.*128 sectors, 262144"),
    ):
        FlashJob(method, target, Watcher()).identify()
    assert board.events == []


def test_without_the_program_the_package_is_named(
    target: FlashTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ToolMissing, match=r"apt-get install .* dfu-util"):
        DfuMethod(target).open()
