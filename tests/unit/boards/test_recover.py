"""The ladder: each rung is tried, told, and the first that works is the last."""

import fcntl
import json
import os
import sys
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner

from boards import node_line
from boards import spec as specs
from boards.cli import app
from boards.flash.run import FlashRequest
from boards.folder import default_name
from boards.probe.findings import FoundLoader
from boards.records import commission_of, store_of
from boards.recover.ladder import Ladder, RecoverPlan, RungResult
from boards.recover.pins import pin_uses, svg, text
from hil.boot_rom.cable import BootRomBoard
from hil.boot_rom.chip import BootRom

BOOT = b'{"boot_epoch": 4, "role": "air", "mem_alloc": 1, "mem_free": 2}\r\n'
UID = bytes(range(1, 13))


class Nobody:
    """Hands and watcher: what was asked for is kept."""

    def __init__(self) -> None:
        self.wishes: list[str] = []

    def asked(self, text: str) -> None:
        self.wishes.append(text)

    def begin(self, step: str) -> None: ...

    def progress(self, done: int, total: int) -> None: ...

    def end(self, text: str) -> None: ...

    def ask(self, text: str) -> None: ...


@contextmanager
def console(answer: Callable[[bytes], bytes]) -> Iterator[str]:
    """A console whose far end answers all that was typed since the last answer."""
    near, far = os.openpty()
    tty.setraw(far)
    ended = threading.Event()

    def serve() -> None:
        while not ended.is_set():
            came = os.read(near, 4096)
            os.write(near, answer(came))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield os.ttyname(far)
    finally:
        ended.set()
        os.write(far, b"\0")
        thread.join(10)
        os.close(near)
        os.close(far)


def climbed(
    port: str,
    flash: Callable[[FoundLoader | None], str] | None = None,
    board: str = default_name(),
    method: str = "",
    prompt_s: float = 0.2,
    boot_s: float = 0.2,
    watchdog_s: float = 0.2,
) -> list[RungResult]:
    """Climb with short limits where a rung fails; return what each rung did."""
    plan = RecoverPlan(
        board, port, method=method, prompt_s=prompt_s, boot_s=boot_s, watchdog_s=watchdog_s
    )
    results: list[RungResult] = []
    nobody = Nobody()
    Ladder(plan, nobody, nobody, flash or (lambda _: "flashed")).climb(results.append)
    return results


def test_ctrl_c_and_a_soft_reset_bring_it_back_and_nothing_else_is_tried() -> None:
    def answer(typed: bytes) -> bytes:
        return BOOT if typed == b"\x04" else b"\r\n>>> " if b"\x03" in typed else b""

    with console(answer) as port:
        results = climbed(port, prompt_s=10, boot_s=10)
    assert [result.works for result in results] == [False, True]
    assert "not tried: name the port of its bus" in results[0].text
    assert "air node runs, boot 4" in results[1].text


def test_a_soft_reset_that_does_nothing_leads_to_the_watchdog() -> None:
    def answer(typed: bytes) -> bytes:
        if b"while True" in typed:
            return BOOT
        return b"\r\n>>> " if b"\x03" in typed else b""

    with console(answer) as port:
        results = climbed(port, prompt_s=10, watchdog_s=10)
    assert [result.works for result in results] == [False, False, True]
    assert results[2].rung == "watchdog"


def test_firmware_that_starts_without_a_commission_is_named() -> None:
    def answer(typed: bytes) -> bytes:
        return b'{"error": "no record"}\r\n' if typed == b"\x04" else b">>> "

    with console(answer) as port:
        results = climbed(port, prompt_s=10, boot_s=10)
    assert "starts and stops: no record" in results[1].text


def test_a_blank_chip_is_flashed_anew(tmp_path: Path) -> None:
    found: list[FoundLoader] = []

    def flash(loader: FoundLoader | None) -> str:
        assert loader is not None
        found.append(loader)
        return "flashed"

    with BootRomBoard(BootRom(UID), tmp_path) as board:
        results = climbed(str(board.port), flash)
    assert [result.rung for result in results][-2:] == ["bootloader in the ROM", "flash anew"]
    assert [result.works for result in results] == [False] * 4 + [True]
    assert "holds nothing that could run" in results[3].text
    assert found[0].uid == UID.hex()


def test_another_board_is_not_flashed(tmp_path: Path) -> None:
    with BootRomBoard(BootRom(UID, chip_id=0x431), tmp_path) as board:
        results = climbed(str(board.port))
    assert not any(result.works for result in results)
    assert "another board" in results[3].text
    assert "not tried: no bootloader of that board answered" in results[4].text


def test_the_command_tells_every_rung_and_that_nothing_helped() -> None:
    with console(lambda _: b"") as port:
        words = ["recover", "--port", port, "--yes", "--json"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(RecoverPlan.__init__, "__defaults__", SHORT)
            done = CliRunner().invoke(app, words)
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert told["works"] is False
    assert len(told["rungs"]) == 5
    assert "Now set BOOT0 high (3.3 V), press reset." in done.stderr
    assert "console TX" in done.stderr, "the picture of the pins"


#: bus_port, unit, baud, key, method, then the limits.
SHORT = (None, 1, 9600, None, "", 0.1, 0.1, 0.1)


def test_the_pins_are_those_of_board_toml() -> None:
    spec = specs.load(default_name())
    by_what = {use.what: use.pin for use in pin_uses(spec)}
    assert by_what == {
        "console TX": "PA9",
        "console RX": "PA10",
        "line TX": "PA2",
        "line RX": "PA3",
        "line direction": "PA1",
        "ground": "GND",
        "boot mode": "BOOT0",
        "reset": "NRST",
    }
    drawn = ET.fromstring(svg(spec))  # noqa: S314 # our own
    words = [element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")]
    shown = text(spec)
    for what, pin in by_what.items():
        assert what in words
        assert pin in words
        assert f"{pin} o" in shown
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize("name", specs.names())
def test_every_board_has_a_picture(name: str) -> None:
    spec = specs.load(name)
    assert text(spec).startswith("+--")
    ET.fromstring(svg(spec))  # noqa: S314 # our own


def test_what_is_on_the_chip_is_started_before_it_is_flashed_anew(tmp_path: Path) -> None:
    started: list[int] = []

    def go(address: int) -> None:
        """After "go" the node takes a moment, then prints on the same port."""
        started.append(address)
        threading.Timer(0.2, lambda: board._send(BOOT)).start()

    rom = BootRom(UID, on_go=go)
    rom.flash[:4] = b"abcd"
    store = store_of(commission_of("air", {"unit_id": 7}), None)
    rom.flash[0xC0000 : 0xC0000 + len(store)] = store
    with BootRomBoard(rom, tmp_path) as board:
        results = climbed(str(board.port), boot_s=10)
    assert [result.rung for result in results][-1] == "bootloader in the ROM"
    assert "air node runs" in results[-1].text
    assert started == [0x08000000]
    assert 0x44 not in rom.commands, "nothing was erased"


@pytest.mark.provokes("TF-FLASH-002")
def test_a_port_that_is_in_use_has_its_code_on_every_command(tmp_path: Path) -> None:
    near, far = os.openpty()
    path = os.ttyname(far)
    fcntl.flock(far, fcntl.LOCK_EX)
    try:
        for words in (
            ["monitor", "1", "--port", path],
            ["monitor", "--bus", "--port", path],
            ["console", path],
            ["show", path],
            ["probe", "--port", path],
        ):
            done = CliRunner().invoke(app, words)
            assert done.exit_code == 1
            assert "TF-FLASH-002: " in done.output, words
    finally:
        os.close(near)
        os.close(far)


def test_a_board_with_another_way_in_is_sent_there() -> None:
    other = next(s for s in map(specs.load, specs.names()) if s.flash.method == "dfu")
    with console(lambda _: b"") as port:
        results = climbed(port, board=other.board.name)
    assert other.flash.enter in results[3].text
    assert f"tianfu-node flash --board {other.board.name}" in results[3].text
    assert results[4] == RungResult("flash anew", True, "flashed"), "its files need no bootloader"


@pytest.mark.parametrize(("words", "status"), [(["--role", "air"], 0), ([], 1)])
def test_the_last_rung_is_a_flash_with_what_was_named(
    words: list[str], status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[FlashRequest] = []

    def flash(request: FlashRequest, _: object) -> SimpleNamespace:
        asked.append(request)
        return SimpleNamespace(key_file="keys/new.json")

    monkeypatch.setattr(RecoverPlan.__init__, "__defaults__", SHORT)
    monkeypatch.setattr(node_line, "_ANSWER_S", 0.05)
    monkeypatch.setattr(sys.modules["boards.cli.recover"], "flash_board", flash)
    with console(lambda _: b"") as bus, BootRomBoard(BootRom(UID), tmp_path) as board:
        words = ["recover", "--port", str(board.port), "--bus-port", bus, "--unit", "7", *words]
        done = CliRunner().invoke(app, [*words, "--yes"])
    assert done.exit_code == status, done.output
    lines = [line for line in done.stdout.splitlines() if line.startswith("[")]
    assert len(lines) == 5
    assert lines[0].startswith("[--] soft reset over the bus: ")
    if status:
        assert "name it with --role" in lines[-1]
        assert asked == []
    else:
        assert "[ok] flash anew: flashed and proven; its new key: keys/new.json" in lines[-1]
        (request,) = asked
        assert (request.role, request.unit, request.bus_baud) == ("air", 7, 9600)
        assert (request.port, request.bus_port) == (str(board.port), bus)
        assert request.baud == 230400, "as `tianfu-node flash` tries first"
