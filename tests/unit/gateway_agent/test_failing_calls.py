"""An error at any system call of outbox and collector loses nothing that was acknowledged.

strace injects it into real processes, which call through SQLite as the product does. Each trial is
followed by a start without errors, whose contents are counted.
"""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.paths import ROOT

from .failing_calls_child import ENDS, SCENARIOS

pytestmark = pytest.mark.tool("strace")

WRITES: Final = (
    "pwrite64",
    "write",
    "fdatasync",
    "fsync",
    "ftruncate",
    "rename",
    "unlink",
    "mkdir",
)
READS: Final = ("openat", "pread64", "fcntl")
# More calls than any scenario makes, and than this Python makes before it begins.
MANY: Final = {"openat": 4000, "pread64": 1000, "fcntl": 2500}
FEW: Final = 400


def run(directory: Path, scenario: str, call: str, error: str, ever: bool, step: int) -> int:
    """Let calls fail, one trial each; return how many trials."""
    at = MANY.get(call, FEW)
    inject = f"inject={call}:error={error}:when={at}{'+' if ever else ''}"
    words = ["strace", "-f", "-qq", "-o", os.devnull, "--seccomp-bpf", "-e", f"trace={call}"]
    words += ["-e", inject, sys.executable]
    words += [str(Path(__file__).with_name("failing_calls_child.py")), str(directory), scenario]
    words += [call, str(getattr(errno, error)), str(at), str(step)]
    done = subprocess.run(
        words, check=False, capture_output=True, text=True, timeout=550,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    trials = [json.loads(line) for line in done.stdout.splitlines()]
    wrong = [trial for trial in trials if trial[2] or trial[1] not in ENDS]
    assert not wrong, f"{inject}: {wrong}\n{done.stderr[-3000:]}"
    if scenario.partition(" ")[0] != "collector":
        assert {trial[1] for trial in trials} <= {"done", "StoreError"}, trials
    return len(trials)


@pytest.mark.parametrize(
    ("call", "error", "ever", "step"),
    [("pwrite64", "ENOSPC", True, 31), ("fdatasync", "EIO", False, 9)],
)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_some_calls_fail(
    tmp_path: Path, scenario: str, call: str, error: str, ever: bool, step: int
) -> None:
    assert run(tmp_path, scenario, call, error, ever, step)


@pytest.mark.exhaustive
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("call", "error"),
    [
        *((call, error) for call in WRITES for error in ("EIO", "ENOSPC+", "EDQUOT+")),
        *((call, "EIO") for call in READS),
        ("openat", "EMFILE"),
    ],
)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_call_fails(tmp_path: Path, scenario: str, call: str, error: str) -> None:
    """Once, or from then on (``+``). Not every scenario makes every call."""
    run(tmp_path, scenario, call, error.rstrip("+"), error.endswith("+"), 1)
