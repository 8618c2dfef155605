"""The ladder where the chip is reached over USB or by an ST-LINK, by the programs' stand-ins."""

import os
import sys
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from boards import node_line
from boards.cli import app
from boards.flash.run import FlashRequest
from boards.probe.findings import FoundLoader
from boards.records import commission_of, store_of
from boards.recover.ladder import RecoverPlan

from .flash.programs import LAYOUT, FakeBoard, install
from .test_recover import BOOT, SHORT, UID, climbed, console

SERIAL = "0C0E0A0A0807"


@pytest.fixture
def boards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, FakeBoard]:
    """A board in its USB bootloader, and one behind an ST-LINK."""
    made = {}
    for way, program, state in (
        ("dfu", "dfu-util", {"boards": [{"path": "1-2", "layout": LAYOUT, "serial": SERIAL}]}),
        ("swd", "openocd", {"probe": "066EFF", "uid": UID.hex()}),
    ):
        (tmp_path / way).mkdir()
        made[way] = install(program, tmp_path / way, monkeypatch, **state)
    return made


@pytest.fixture(params=["dfu", "swd"])
def way(
    request: pytest.FixtureRequest, boards: dict[str, FakeBoard], monkeypatch: pytest.MonkeyPatch
) -> str:
    name = str(request.param)
    monkeypatch.setenv("FAKE_BOARD", str(boards[name].pipe.parent))
    return name


@contextmanager
def booting(board: FakeBoard) -> Iterator[str]:
    """A console that prints a boot line whenever the program has started the chip."""
    near, far = os.openpty()
    tty.setraw(far)
    os.mkfifo(board.pipe)

    def serve() -> None:
        while board.pipe.read_text():
            os.write(near, BOOT)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield os.ttyname(far)
    finally:
        with board.pipe.open("w"):
            pass
        thread.join()
        os.close(near)
        os.close(far)


def test_what_is_on_the_chip_is_started_before_it_is_flashed_anew(
    way: str, boards: dict[str, FakeBoard]
) -> None:
    store = store_of(commission_of("air", {"unit_id": 7}), None)
    flash = b"abcd".ljust(0xC0000, b"\xff") + store
    boards[way].flash = flash.ljust(1 << 20, b"\xff")
    with booting(boards[way]) as port:
        results = climbed(port, method=way, boot_s=10)
    assert results[-1].rung == {"dfu": "USB bootloader in the ROM", "swd": "ST-LINK"}[way]
    assert "air node runs" in results[-1].text
    assert len(boards[way].events) == 1, "it was started, and nothing was erased"


def test_a_blank_chip_is_flashed_anew(way: str) -> None:
    found: list[FoundLoader | None] = []

    def flash(loader: FoundLoader | None) -> str:
        found.append(loader)
        return "flashed"

    with console(lambda _: b"") as port:
        results = climbed(port, flash, method=way)
    assert [result.works for result in results] == [False] * 4 + [True]
    assert "holds nothing that could run" in results[3].text
    (loader,) = found
    assert loader is not None
    assert loader.uid == {"dfu": SERIAL, "swd": UID.hex()}[way]


def test_no_board_and_another_chip(way: str, boards: dict[str, FakeBoard]) -> None:
    with console(lambda _: b"") as port:
        boards[way].set(boards=[{"path": "1", "layout": LAYOUT[:-7], "serial": SERIAL}])
        boards[way].set(idcode=0x20016419)
        wrong = climbed(port, method=way)
        boards[way].set(boards=[], probe="")
        absent = climbed(port, method=way)
    assert "TF-FLASH-020" in wrong[3].text
    assert {"dfu": "TF-FLASH-014", "swd": "TF-FLASH-016"}[way] in absent[3].text
    for results in (wrong, absent):
        assert "no bootloader of that board answered" in results[4].text
    assert boards[way].events == []


def test_the_command_flashes_by_the_way_that_was_named(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[FlashRequest] = []

    def flash(request: FlashRequest, _: object) -> SimpleNamespace:
        asked.append(request)
        return SimpleNamespace(key_file="keys/new.json")

    monkeypatch.setattr(RecoverPlan.__init__, "__defaults__", SHORT)
    monkeypatch.setattr(node_line, "_ANSWER_S", 0.05)
    monkeypatch.setattr(sys.modules["boards.cli.recover"], "flash_board", flash)
    with console(lambda _: b"") as bus, console(lambda _: b"") as port:
        words = ["--port", port, "--bus-port", bus, "--role", "air", "--method", way, "--yes"]
        done = CliRunner().invoke(app, ["recover", *words])
    assert done.exit_code == 0, done.output
    (request,) = asked
    assert (request.method, request.port) == (way, "")
    if way == "swd":
        assert "connect the ST-LINK to SWDIO" in done.stderr
