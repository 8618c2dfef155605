"""What a failing test leaves behind: one folder with everything needed to see and repeat it.

Resources register what they can show while they are made; the plugin calls the sources at the
moment of failure, before anything is torn down. A source that fails itself leaves its error in
place of its content: the evidence of the first failure must not be lost to a second.
"""

from __future__ import annotations

import json
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

Source = Callable[[], str | bytes]

_PACKAGES: Final = ("tianfu-edge", "pytest", "pytest-asyncio", "pymodbus", "pyserial", "aiomqtt")
_NAME: Final = re.compile(r"[^A-Za-z0-9_.=-]+")
_LONGEST: Final = 120


def folder_name(test_id: str) -> str:
    """Return a test id as a folder's name; a long one ends with a part of its hash instead."""
    name = _NAME.sub("-", test_id.replace("::", ".").replace("/", ".")).strip("-.")
    if len(name) > _LONGEST:
        name = f"{name[:_LONGEST]}-{sha256(test_id.encode()).hexdigest()[:8]}"
    return name


class Evidence:
    """The folder of one test; nothing is made before :meth:`write`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.written = False
        self._sources: dict[str, Source] = {}

    def add(self, name: str, source: Source) -> None:
        """Have ``source()`` written to the file ``name`` if the test fails."""
        self._sources[name] = source

    def forget(self) -> None:
        """Remove what an earlier run of the same test left."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def write(self) -> Path:
        """Write every source; returns the folder. Further calls write nothing."""
        if self.written:
            return self.folder
        self.written = True
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, source in self._sources.items():
            try:
                content = source()
            except Exception as error:  # noqa: BLE001 - see the module
                content = f"{type(error).__name__}: {error}\n"
            if isinstance(content, str):
                content = content.encode("utf-8", "replace")
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return self.folder


@cache
def git_commit() -> str:
    """Return the commit of the source tree, ``+changes`` if it is not clean, ``none`` outside."""
    root = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        commit = git("rev-parse", "HEAD")
        return commit + ("+changes" if commit and git("status", "--porcelain") else "") or "none"
    except (OSError, subprocess.TimeoutExpired):
        return "none"


def versions(extra: Mapping[str, object]) -> str:
    """Return what ran, as JSON; ``extra`` names engine, board and image."""
    found: dict[str, object] = {
        "commit": git_commit(),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.release()} {platform.machine()}",
        **extra,
    }
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return json.dumps(found, indent=1) + "\n"


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hex digits."""
    return sha256(path.read_bytes()).hexdigest()


def interpreter() -> str:
    """Return how a person starts this Python again."""
    return "python" if sys.prefix != sys.base_prefix else sys.executable
