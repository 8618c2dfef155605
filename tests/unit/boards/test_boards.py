"""Every board folder is what its board.toml claims; a wrong one is named with its key."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from boards import spec as specs
from boards.cache import ROOT
from boards.folder import default_name

GOOD = """
[board]
name = "b"
title = "B"
mcu = "m"
port = "rp2"
[flash]
method = "uf2"
"""


class Manifest:
    """Runs a manifest and keeps the files it names that do not exist."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.missing: list[str] = []

    def _look(self, path: Path) -> None:
        if not path.exists():
            self.missing.append(str(path))

    def run(self) -> None:
        """Execute manifest.py with MicroPython's functions standing in."""

        def package(
            name: str, files: tuple[str, ...] = (), base_path: str = ".", opt: int = 0
        ) -> None:
            base = self.folder / base_path / name
            for path in [base / file for file in files] or [base]:
                self._look(path)

        def module(name: str, base_path: str = ".", opt: int = 0) -> None:
            self._look(self.folder / base_path / name)

        names = {"package": package, "module": module, "include": lambda *_: None}
        code = compile((self.folder / "manifest.py").read_text("utf-8"), "manifest.py", "exec")
        exec(code, names)  # noqa: S102  # a manifest is a program


@pytest.mark.parametrize("name", specs.names())
def test_board_folder(name: str) -> None:
    spec = specs.load(name)
    assert list(specs.pins(spec)) or spec.board.port == "unix"
    if spec.board.port != "unix" and not spec.has_image:
        assert spec.stubs.count("==") == 1
        manifest = Manifest(specs.FOLDER / name)
        manifest.run()
        assert not manifest.missing


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        (GOOD.replace('"uf2"', '"magic"'), "flash.method"),
        (GOOD.replace('mcu = "m"', ""), "mcu"),
        (GOOD.replace('name = "b"', 'name = "c"'), "board.name: expected 'b' as the folder"),
        (GOOD + "[memory]\nheap = -1\n", "memory.heap"),
        (
            GOOD + '[uart]\na = {tx = "P1", rx = "P2"}\n[led]\non = {pin = "P1"}\n',
            "already uart.a.tx",
        ),
        ("x = ", "board.toml"),
    ],
)
def test_wrong_board_is_reported(text: str, reported: str, tmp_path: Path) -> None:
    with pytest.raises(specs.SpecError) as caught:
        specs.parse(text, tmp_path / "b" / "board.toml")
    assert reported in str(caught.value)


def test_unknown_board_lists_those_there_are() -> None:
    with pytest.raises(specs.SpecError, match=default_name()):
        specs.load("nucleo")


def test_command_lists_boards_and_refuses_what_it_cannot_build() -> None:
    code = "from boards.cli import app; app()"

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, *words]
        return subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False
        )

    rows = json.loads(run("boards", "--json").stdout)["boards"]
    assert [row["name"] for row in rows] == specs.names()
    stock = next(row for row in rows if not row["own_image"] and row["port"] != "unix")
    refused = run("build", stock["name"])
    assert refused.returncode == 1
    assert f"{stock['port']} port" in refused.stderr
