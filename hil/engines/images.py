"""The image a board runs: built when it is first asked for, by one process at a time."""

from __future__ import annotations

import fcntl
import importlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, cast

from hil.errors import ImageError


class _Image(Protocol):
    elf: Path


class _Build(Protocol):
    def __call__(self, name: str, progress: Callable[[str], None]) -> _Image: ...


def _show_nothing(_text: str) -> None:
    """Show nothing, for callers without progress."""


@contextmanager
def only_one(name: str) -> Iterator[None]:
    """Hold a lock of that name on this machine: parallel workers wait for the first one's work."""
    path = Path(tempfile.gettempdir()) / f"tianfu-hil-{name}.lock"
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def image_of(board: str, show: Callable[[str], None] = _show_nothing) -> Path:
    """Return the ELF file of ``board``; ``show`` gets each step that takes time. ImageError."""
    try:
        build = cast("_Build", importlib.import_module("boards.build").build)
    except (ImportError, AttributeError) as error:
        raise ImageError(f"image of {board}: boards.build cannot be used: {error}") from error
    with only_one(f"image-{board}"):
        try:
            return build(board, show).elf
        except Exception as error:
            raise ImageError(
                f"image of {board} cannot be built: {error}", f"tianfu-node build {board}"
            ) from error
