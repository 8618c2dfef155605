"""A release of MicroPython on a stock STM32: checked for its chip, written, read back, noted."""

import hashlib
import json
import random
import struct
import zlib
from pathlib import Path

import pytest

from boards import spec as specs
from boards.errors import BoardError
from boards.flash import run, stock
from boards.flash.errors import NO_REPL, FlashingError
from boards.flash.stm32_release import regions_of
from boards.flash.target import release_target_of
from boards.folder import default_name

from .programs import LAYOUT, FakeBoard, install
from .test_job import Steps

AT = 0x08000000
CODE = 0x08020000
NOISE = random.Random(407)
#: As the port links it: the vectors in the first sector, the code behind the file system.
VECTORS = struct.pack("<II", 0x20020000, CODE + 0x201) + NOISE.randbytes(5_992)
TEXT = NOISE.randbytes(40_000) + b"PYBv1.1 with STM32F405RG\0STM32F407VG" + NOISE.randbytes(70_000)
FILES = b"\x11" * 0x10000  # what was in the sectors of MicroPython's file system
STOCK = [spec for spec in map(specs.load, specs.names()) if spec.flash.chip]
BOARDS: dict[str, str] = {spec.flash.method: spec.board.name for spec in STOCK}
MCU = next(spec.board.mcu for spec in STOCK if spec.flash.method == "dfu")


def release(*parts: tuple[int, bytes], product: int = 0xDF11) -> bytes:
    """A DfuSe file, put together from UM0391."""
    body = b"".join(struct.pack("<II", at, len(part)) + part for at, part in parts)
    body = struct.pack("<6sBI255sII", b"Target", 0, 1, b"ST...", len(body), len(parts)) + body
    content = struct.pack("<5sBIB", b"DfuSe", 1, len(body) + 11, 1) + body
    content += struct.pack("<4H3sB", 0, product, 0x0483, 0x011A, b"UFD", 16)
    return content + struct.pack("<I", ~zlib.crc32(content) & 0xFFFFFFFF)


RELEASE = release((AT, VECTORS), (CODE, TEXT))


@pytest.fixture(params=["dfu", "swd"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def board(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeBoard:
    if way == "dfu":
        plugged = {"path": "1-2", "layout": LAYOUT, "serial": "365036713438"}
        made = install("dfu-util", tmp_path, monkeypatch, boards=[plugged])
    else:
        made = install("openocd", tmp_path, monkeypatch, probe="066E", uid="00" * 12)
    made.flash = b"\x11" * (1 << 20)
    return made


def written(way: str, folder: Path, content: bytes = RELEASE, **more: bool) -> tuple[str, str]:
    file = folder / "release.dfu"
    file.write_bytes(content)
    port = folder / "ttyACM0"
    port.touch()
    return stock.write_firmware(BOARDS[way], file, str(port), "", Steps(), **more)


def test_what_the_file_names_is_written_and_nothing_else(
    way: str, board: FakeBoard, tmp_path: Path
) -> None:
    found = written(way, tmp_path)
    how = {"dfu": "read back by DFU upload (dfu-util)", "swd": "read back over SWD (openocd)"}[way]
    assert found == (hashlib.sha256(RELEASE).hexdigest(), how)
    flash = board.flash
    assert flash[: len(VECTORS)] == VECTORS
    assert flash[0x4000:0x20000] == b"\x11" * 0x1C000, "the file system"
    assert flash[0x20000 : 0x20000 + len(TEXT)] == TEXT
    assert flash[0x40000:] == b"\x11" * 0xC0000
    assert board.events[0] == {"dfu": "erase 0x8000000", "swd": "erase 0 0"}[way]
    assert board.events[-2].startswith("write 0x8000000 256"), "the first bytes are the last"
    assert board.events[-1] == {"dfu": "leave 0x08000000", "swd": "reset run"}[way]


@pytest.mark.parametrize("share", [0.1, 0.6, 0.99])
def test_a_cable_that_was_pulled_leaves_nothing_that_starts(
    share: float, way: str, board: FakeBoard, tmp_path: Path
) -> None:
    board.set(pull_after=int((len(VECTORS) + len(TEXT)) * share))
    with pytest.raises(FlashingError, match="TF-FLASH-004"):
        written(way, tmp_path)
    assert board.flash[:256] == b"\xff" * 256


def test_a_plain_binary_begins_where_the_flash_does(
    way: str, board: FakeBoard, tmp_path: Path
) -> None:
    content = struct.pack("<II", 0x20001000, AT + 0x101) + TEXT
    written(way, tmp_path, content)
    assert board.flash[: len(content)] == content


@pytest.mark.provokes("TF-FLASH-029")
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (RELEASE[:-1], "cut off"),
        (RELEASE[:-17], "cut off"),
        (b"DfuSe", "whole DfuSe file, got 5 bytes"),
        (RELEASE[:5000] + b"\0" + RELEASE[5001:], "CRC-32"),
        (release((CODE, TEXT)), "a part at 0x08000000"),
        (release((AT, VECTORS[:7])), "a part at 0x08000000"),
        (release((AT, VECTORS)), "starts at 0x08020201"),
        (release((AT, bytes(4) + VECTORS[4:]), (CODE, TEXT)), "stack begins at 0x00000000"),
        (release((AT, VECTORS), (CODE, b"STM32F411" * 200)), "names no such chip"),
        (release((AT, VECTORS), (AT + 99, TEXT)), "two of its parts hold 0x08000063"),
        (release((AT, VECTORS), (0x080F0000, TEXT)), "outside of the chip's flash"),
        (release((AT, VECTORS), (0x1FFFC000, b"options")), "outside of the chip's flash"),
        (release(), "it holds nothing"),
        (b"", "it holds nothing"),
        (b"UF2\n" * 200, "which is no RAM|stack begins"),
    ],
)
def test_a_file_for_something_else_is_refused(content: bytes, problem: str) -> None:
    target = release_target_of(BOARDS["dfu"])
    with pytest.raises(FlashingError, match=f"^TF-FLASH-029: .*({problem}).*nothing was written"):
        regions_of(content, target, MCU)


def test_a_refused_file_reaches_no_board(way: str, board: FakeBoard, tmp_path: Path) -> None:
    with pytest.raises(FlashingError, match="TF-FLASH-029"):
        written(way, tmp_path, RELEASE[:-1])
    assert board.events == []


def test_another_chip_is_refused_before_anything_is_erased(
    way: str, board: FakeBoard, tmp_path: Path
) -> None:
    board.set(idcode=0x20016419, boards=[{"path": "1", "layout": LAYOUT[:-7], "serial": "1"}])
    with pytest.raises(FlashingError, match="TF-FLASH-020"):
        written(way, tmp_path)
    assert board.events == []


def test_protection_goes_only_by_order(way: str, board: FakeBoard, tmp_path: Path) -> None:
    board.set(protected=True)
    with pytest.raises(FlashingError, match="TF-FLASH-021"):
        written(way, tmp_path)
    assert board.events == []
    written(way, tmp_path, unlock=True)
    assert board.flash[: len(VECTORS)] == VECTORS


def test_parts_of_one_sector_are_written_as_one() -> None:
    target = release_target_of(BOARDS["dfu"])
    (only,) = regions_of(
        release((AT + 0x3000, b"STM32F405"), (AT, struct.pack("<II", 0x20001000, AT + 0x3001))),
        target,
        MCU,
    )
    assert (only.address, len(only.content)) == (AT, 0x3000 + 9)
    assert only.content[8:0x3000] == b"\xff" * 0x2FF8


def test_the_record_has_the_release_and_how_it_was_verified(
    way: str, board: FakeBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files over the REPL have their own test: here the board answers nothing there."""

    def silent(*_: object) -> None:
        raise FlashingError(NO_REPL, "nobody")

    monkeypatch.setattr(stock, "stock_job", silent)
    file = tmp_path / "release.dfu"
    file.write_bytes(RELEASE)
    (port := tmp_path / "ttyACM0").touch()
    log = tmp_path / "log"
    fields = (BOARDS[way], "air", {"unit_id": 7}, str(port), 0, "", tmp_path / "keys", log)
    with pytest.raises(FlashingError, match="TF-FLASH-025"):
        run.flash(run.FlashRequest(*fields, firmware=file), Steps())
    assert board.flash[: len(VECTORS)] == VECTORS
    (line,) = [json.loads(line) for line in log.read_text().splitlines()]
    assert (line["event"], line["firmware"]) == ("firmware", hashlib.sha256(RELEASE).hexdigest())
    assert line["verified_by"].startswith("read back")


def test_an_own_image_is_no_release(tmp_path: Path) -> None:
    fields = (default_name(), "air", {"unit_id": 7}, "", 0, "", tmp_path, tmp_path / "log")
    with pytest.raises(BoardError, match=r"no --firmware: .*--image"):
        run.flash(run.FlashRequest(*fields, firmware=tmp_path / "x"), Steps())


def test_the_files_of_a_stock_board_have_one_way(way: str, tmp_path: Path) -> None:
    fields = (BOARDS[way], "air", {"unit_id": 7}, "", 0, "", tmp_path, tmp_path / "log")
    with pytest.raises(BoardError, match=r"no --method: its files go over the REPL"):
        run.flash(run.FlashRequest(*fields, method=way), Steps())
