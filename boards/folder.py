"""Find the board folders and their tables; with Python's own library alone.

A board is a folder with a ``board.toml``. Nothing outside such a folder names a board: whoever
needs one takes it by a property that its tables have.
"""

import tomllib
from pathlib import Path
from typing import Any, Final

from .errors import BoardError

FOLDER: Final = Path(__file__).resolve().parent


def names(folder: Path = FOLDER) -> list[str]:
    """Return the name of every board folder."""
    return sorted(path.parent.name for path in folder.glob("*/board.toml"))


def tables(name: str, file: str = "board.toml", folder: Path = FOLDER) -> dict[str, Any]:
    """Return the tables of one of a board's TOML files, not checked."""
    return tomllib.loads((folder / name / file).read_text(encoding="utf-8"))


def default_name(folder: Path = FOLDER) -> str:
    """Return the board that counts where none is named: ``board.default = true``. BoardError."""
    found = [
        name
        for name in names(folder)
        if tables(name, folder=folder).get("board", {}).get("default") is True
    ]
    if len(found) != 1:
        raise BoardError(
            f"{folder}/*/board.toml: expected board.default = true in one of them, "
            f"got it in {', '.join(found) or 'none'}"
        )
    return found[0]


def store_area(name: str, folder: Path = FOLDER) -> tuple[int, int]:
    """Return address and size of the record store in the chip's memory."""
    area = tables(name, "peripherals.toml", folder)["memory"]["store"]
    return int(area["base"]), int(area["size"])
