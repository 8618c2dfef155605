"""``tianfu-node``: what each command prints, and its exit status where there is no such board."""

import importlib.metadata
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from boards import build as images
from boards import spec as specs
from boards.cli import app
from boards.folder import default_name

RUNNER = CliRunner()
BOARD = default_name()
UF2_BOARD = next(name for name in specs.names() if specs.load(name).flash.method == "uf2")
IMAGE = images.Image(
    elf=Path("/out/firmware.elf"),
    bin=Path("/out/firmware.bin"),
    map=Path("/out/firmware.map"),
    digest="ab" * 32,
    version="1.25.0",
    flash_bytes=300 * 1024,
    ram_bytes=20 * 1024,
    heap_bytes=90 * 1024,
)


def run(*arguments: str) -> tuple[int, str]:
    """Return the exit status and all output."""
    result = RUNNER.invoke(app, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_boards_are_listed_with_chip_and_firmware() -> None:
    status, text = run("boards")
    assert status == 0
    rows = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    assert set(specs.names()) <= set(rows)
    assert "own image" in rows[BOARD]
    stock = next(spec for spec in map(specs.load, specs.names()) if not spec.has_image)
    assert f"stock {stock.board.port}" in rows[stock.board.name]
    assert rows[BOARD].split()[-1] == rows[stock.board.name].split()[-1] == "never", "on silicon"


def test_boards_as_json() -> None:
    status, text = run("boards", "--json")
    assert status == 0
    listed = {board["name"]: board for board in json.loads(text)["boards"]}
    assert sorted(listed) == sorted(specs.names())
    assert listed[BOARD]["flash_bytes"] == 1024 * 1024
    assert listed[BOARD]["own_image"] is True
    assert listed[BOARD]["flash_method"] == "uart"
    assert listed[BOARD]["flash_methods"] == ["uart", "swd", "dfu"]
    assert listed[UF2_BOARD]["flash_methods"] == ["uf2", "files over REPL"]
    assert listed["unix"]["flash_methods"] == []
    assert listed[BOARD]["seen_on_silicon"] is None


def test_flash_wants_the_bus_on_which_the_node_proves_itself() -> None:
    status, text = run("flash", "--port", "/dev/null", "--role", "air", "--unit", "7")
    assert status == 2
    assert "--bus-port: expected" in text


def test_flash_of_a_process_names_what_it_can_flash() -> None:
    stock = next(spec for spec in map(specs.load, specs.names()) if spec.flash.method == "none")
    words = ("--port", "/dev/null", "--role", "air", "--unit", "7", "--dry-run")
    status, text = run("flash", *words, "--board", stock.board.name)
    assert status == 1
    assert "flashed by uart" in text


def test_flash_of_a_stock_board_without_mpremote_names_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [name for name in sys.modules if name.startswith("boards.flash.stock")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "boards.flash.methods.micropython", raising=False)
    monkeypatch.setitem(sys.modules, "mpremote", None)
    monkeypatch.setitem(sys.modules, "mpremote.transport", None)
    words = ("--port", "/dev/null", "--role", "air", "--unit", "7", "--dry-run")
    status, text = run("flash", *words, "--board", UF2_BOARD)
    assert status == 1
    assert "pip install 'tianfu-edge[station]'" in text


def test_a_board_that_is_not_there_names_those_that_are() -> None:
    status, text = run("build", "no-such-board")
    assert status == 1
    assert BOARD in text


def test_version() -> None:
    assert run("--version") == (0, importlib.metadata.version("tianfu-edge") + "\n")


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Compile nothing: what was asked for is listed, and the image is IMAGE."""
    asked: list[str] = []

    def build(board: str, report: Callable[[str], None], clean: bool = False) -> images.Image:
        report("compiling")
        asked.append(f"build {board} clean={clean}")
        return IMAGE

    def verify(board: str, report: Callable[[str], None]) -> images.Image:
        asked.append(f"verify {board}")
        return IMAGE

    monkeypatch.setattr(images, "build", build)
    monkeypatch.setattr(images, "verify", verify)
    return asked


def test_a_built_image_is_shown_with_its_budget(built: list[str]) -> None:
    status, text = run("build", BOARD)
    assert status == 0
    assert built == [f"build {BOARD} clean=False"]
    assert f"{BOARD}: compiling" in text
    assert "300.0" in text  # KiB of the image
    assert f"SHA-256 {'ab' * 32}" in text
    assert "the same bytes" not in text


def test_a_verified_image_as_text_and_as_json(built: list[str]) -> None:
    status, text = run("build", BOARD, "--clean", "--verify")
    assert status == 0
    assert built == [f"build {BOARD} clean=True", f"verify {BOARD}"]
    assert "gave the same bytes" in text
    status, text = run("build", BOARD, "--json")
    fields = json.loads(text[text.index("{") :])
    assert (status, fields["board"], fields["elf"]) == (0, BOARD, "/out/firmware.elf")
    assert fields["reproducible"] is None
