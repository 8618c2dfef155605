"""The way over SWD against a stand-in for openocd: what it writes, in which order, and faults."""

import hashlib
import json
import random
import struct
from pathlib import Path

import pytest

from boards.errors import BoardError
from boards.flash import run
from boards.flash.errors import FlashingError
from boards.flash.method import ChipIdentity
from boards.flash.methods.swd import SwdMethod
from boards.flash.target import FlashTarget, target_of
from boards.folder import default_name
from boards.recordstore import contents

from .programs import FakeBoard, install

IMAGE = struct.pack("<II", 0x20020000, 0x08000201) + random.Random(12).randbytes(69_993)
AT = 0x08000000
UID = bytes(range(1, 13)).hex()


@pytest.fixture
def target() -> FlashTarget:
    return target_of(default_name())


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeBoard:
    return install("openocd", tmp_path, monkeypatch, probe="066EFF", uid=UID)


def seen(done: int, total: int) -> None:
    assert 0 <= done <= total


def test_the_first_bytes_are_written_last_into_erased_sectors(
    board: FakeBoard, target: FlashTarget
) -> None:
    board.flash = b"\x00" * len(board.flash)
    counts: list[int] = []
    with SwdMethod(target, "066EFF") as method:
        assert method.identify() == ChipIdentity(0x413, uid=UID)
        method.erase([0, 1, 2, 3, 4], lambda done, total: counts.append(done))
        method.write(AT, IMAGE, seen)
        assert method.read(AT, len(IMAGE), seen) == IMAGE
        method.start(AT)
    assert counts[-1] == 5
    assert board.events == [
        *(f"erase {n} {n}" for n in range(5)),
        "write 0x8000100 32512",
        "write 0x8008000 32768",
        "write 0x8010000 4468",
        "write 0x8000000 256",
        "reset run",
    ]
    assert board.flash[0x20000:] == b"\x00" * (len(board.flash) - 0x20000)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_cable_that_was_pulled_leaves_nothing_that_starts(
    share: float, board: FakeBoard, target: FlashTarget
) -> None:
    board.set(pull_after=int(len(IMAGE) * share))
    with SwdMethod(target) as method, pytest.raises(FlashingError, match="TF-FLASH-004"):
        method.write(AT, IMAGE, seen)
    assert board.flash[:256] == b"\xff" * 256
    board.set(probe="066EFF", pull_after=1 << 40)
    with SwdMethod(target) as method:
        method.erase([0, 1, 2, 3, 4], seen)
        method.write(AT, IMAGE, seen)
    assert board.flash[: len(IMAGE)] == IMAGE


@pytest.mark.parametrize(
    ("state", "code"),
    [
        pytest.param({"probe": ""}, "016", marks=pytest.mark.provokes("TF-FLASH-016")),
        pytest.param({"no_chip": True}, "017", marks=pytest.mark.provokes("TF-FLASH-017")),
        pytest.param({"millivolts": 900}, "018", marks=pytest.mark.provokes("TF-FLASH-018")),
        ({"no_access": True}, "019"),
        ({"protected": True}, "021"),
        ({"write_protected": [1]}, "022"),
    ],
)
def test_what_the_program_reports_is_a_row_of_the_table(
    state: dict[str, object], code: str, board: FakeBoard, target: FlashTarget
) -> None:
    board.set(**state)
    method = SwdMethod(target)

    def job() -> None:
        method.identify()
        method.erase([0, 1], seen)

    with pytest.raises(FlashingError, match=f"TF-FLASH-{code}"):
        job()


def test_another_probe_than_the_named_one_is_not_used(
    board: FakeBoard, target: FlashTarget
) -> None:
    with SwdMethod(target, "FFFFFF") as method, pytest.raises(FlashingError, match="TF-FLASH-016"):
        method.identify()


def test_of_another_chip_nothing_more_is_read(board: FakeBoard, target: FlashTarget) -> None:
    board.set(idcode=0x20016419, protected=True)
    with SwdMethod(target) as method:
        assert method.identify() == ChipIdentity(0x419)


def test_protection_goes_only_by_order(board: FakeBoard, target: FlashTarget) -> None:
    board.set(protected=True)
    with SwdMethod(target) as method:
        method.unlock()
        assert method.identify().uid == UID


def test_a_whole_flash_goes_by_swd(
    board: FakeBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof over the bus has its own tests: what the flash job writes and reads is real."""
    image = tmp_path / "image.bin"
    image.write_bytes(IMAGE)
    asked: list[str] = []

    class NoBus(BoardError):
        pass

    class Prover:
        def __init__(self, *fields: object) -> None:
            asked.extend(map(str, fields[3:6]))
            raise NoBus

    class Watcher:
        def begin(self, step: str) -> None: ...
        def progress(self, done: int, total: int) -> None: ...
        def end(self, text: str) -> None: ...
        def ask(self, text: str) -> None: ...

    monkeypatch.setattr(run, "NodeProver", Prover)
    keys, log = tmp_path / "keys", tmp_path / "station.jsonl"
    wish = run.FlashRequest(
        *(default_name(), "air", {"unit_id": 7}, "066EFF", 0, "", keys, log, image), method="swd"
    )
    with pytest.raises(NoBus):
        run.flash(wish, Watcher())
    assert asked == [UID, "air", hashlib.sha256(IMAGE).hexdigest()]
    assert board.flash[: len(IMAGE)] == IMAGE
    assert json.loads(contents(board.flash[0xC0000:])["board"])["role"] == "air"
    assert board.events[-1] == "reset run"
