"""Get a package of npm for a test that asks a program by others; kept in .cache between runs."""

import fcntl
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .paths import ROOT

_TRY_S = 60


def npm_package(name: str, version: str) -> Path:
    """Return a folder from which Node.js finds the package; the test is skipped without it."""
    folder = ROOT / ".cache" / "npm"
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip(f"node and npm are not installed: {name} is not asked")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two npm in one folder wait for each other
        found = folder / "node_modules" / name / "package.json"
        if not found.exists() or json.loads(found.read_text("utf-8"))["version"] != version:
            command = ["npm", "install", "--silent", "--no-audit", "--no-fund"]
            command += ["--fetch-retries=0", "--fetch-timeout=15000", f"{name}@{version}"]
            try:
                subprocess.run(
                    [*command, "--prefix", str(folder)],
                    capture_output=True,
                    timeout=_TRY_S,
                    check=True,
                )
            except subprocess.SubprocessError as error:
                pytest.skip(f"{name} is not asked: {error}")
    return folder


def run_node(folder: Path, script: str, text: str) -> list[Any]:
    """Run a script with ``text`` as its input; return the values of the lines it prints in JSON."""
    done = subprocess.run(
        ["node", "-e", script],
        cwd=folder,
        input=text,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]
