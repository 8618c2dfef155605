"""A board that stand-ins for dfu-util and openocd flash: its folder holds chip and faults."""

import json
import shutil
from pathlib import Path
from typing import Final

import pytest

FAKES: Final = Path(__file__).parent / "fakes"
LAYOUT: Final = "@Internal Flash  /0x08000000/04*016Kg,01*064Kg,07*128Kg"
FLASH_BYTES: Final = 1 << 20


class FakeBoard:
    """The folder: flash.bin and board.json."""

    def __init__(self, folder: Path, **state: object) -> None:
        self._folder = folder
        self.flash = b"\xff" * FLASH_BYTES
        self.set(**state)

    @property
    def flash(self) -> bytes:
        return (self._folder / "flash.bin").read_bytes()

    @flash.setter
    def flash(self, content: bytes) -> None:
        (self._folder / "flash.bin").write_bytes(content)

    @property
    def events(self) -> list[str]:
        found = self._state().get("events", [])
        assert isinstance(found, list)
        return found

    @property
    def pipe(self) -> Path:
        """The pipe, if somebody made it, that hears when the program has started the chip."""
        return self._folder / "started"

    def set(self, **state: object) -> None:
        """Set keys of its state."""
        (self._folder / "board.json").write_text(json.dumps({**self._state(), **state}))

    def _state(self) -> dict[str, object]:
        path = self._folder / "board.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}


def install(
    program: str, folder: Path, monkeypatch: pytest.MonkeyPatch, **state: object
) -> FakeBoard:
    """Put a program in front of the real one, with one board."""
    programs = folder / "bin"
    programs.mkdir()
    shutil.copy(FAKES / program, programs / program)
    board = folder / "board"
    board.mkdir()
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    monkeypatch.setenv("FAKE_BOARD", str(board))
    return FakeBoard(board, **state)
