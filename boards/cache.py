"""Where built and fetched things are kept, and how two builds keep out of each other's way.

In a checkout that is ``.cache`` (``make clean`` empties it); for an installed package
``$XDG_CACHE_HOME/tianfu-edge``. ``TIANFU_CACHE`` names another folder. Everything in it can be
made again: deleting it costs time, nothing else.
"""

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeAlias

ROOT: Final = Path(__file__).resolve().parent.parent
"""The folder that holds the packages: a checkout, or site-packages."""

Progress: TypeAlias = Callable[[str], None]
"""Gets a line for people when a step that takes long begins."""

_CHUNK: Final = 1 << 20


def cache_root() -> Path:
    """Return the folder for everything that is fetched or built."""
    named = os.environ.get("TIANFU_CACHE")
    if named:
        return Path(named).resolve()
    if (ROOT / "pyproject.toml").is_file():
        return ROOT / ".cache"
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "tianfu-edge"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold ``folder`` alone: a second process waits here until the first is done with it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(folder.name + ".lock").open("w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield  # closing the file ends the lock, also when the process is killed


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def digest_of(parts: dict[str, str]) -> str:
    """Return one SHA-256 over named texts, whatever their order."""
    digest = hashlib.sha256()
    for name in sorted(parts):
        digest.update(f"{len(name)}:{name}{len(parts[name])}:{parts[name]}".encode())
    return digest.hexdigest()


def tree_digest(root: Path, folders: tuple[str, ...], suffixes: tuple[str, ...] = ()) -> str:
    """Return one SHA-256 over names and contents of all files below folders of ``root``.

    ``suffixes`` keeps the files whose names end so; empty keeps all. What tools leave behind
    (hidden folders, ``__pycache__``, ``build*``) does not count.
    """
    parts: dict[str, str] = {}
    for folder in folders:
        top = root / folder
        for path in [top] if top.is_file() else sorted(top.rglob("*")):
            name = path.relative_to(root)
            left = any(
                part.startswith((".", "build-")) or part in ("__pycache__", "build")
                for part in name.parts
            )
            if not left and path.is_file() and (not suffixes or path.name.endswith(suffixes)):
                parts[name.as_posix()] = file_digest(path)
    return digest_of(parts)
