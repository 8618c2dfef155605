"""A medium that refuses writes: what is no room is waited for, what is not ends with its remedy.

SQLite has one error for all of them but a full disk, so these come from strace.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT

from .store_help import contents, gaps, numbers, open_box

pytestmark = pytest.mark.tool("strace")

COUNT = 600


def run(root: Path, error: str, when: str) -> str:
    words = ["strace", "-f", "-qq", "-o", os.devnull, "-e", "trace=pwrite64,write"]
    for name in ("outbox.db", "outbox.db-wal", "outbox.probe"):
        words += ["-P", str(root / name)]
    words += ["-e", f"inject=pwrite64,write:error={error}:when={when}", sys.executable]
    words += [str(Path(__file__).with_name("refusing_medium_child.py")), str(root)]
    done = subprocess.run(
        words, check=True, capture_output=True, text=True, timeout=50,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    return done.stdout


@pytest.mark.parametrize("error", ["ENOSPC", "EDQUOT"])
def test_no_room_is_waited_for(tmp_path: Path, error: str) -> None:
    """A write, the question why, and both again, find the medium or a quota used up."""
    assert "done, full 1 times" in run(tmp_path, error, "30..33")
    box = open_box(tmp_path)
    pieces = contents(box, 100)
    box.close()
    assert numbers(pieces) == list(range(1, COUNT + 1))
    assert gaps(pieces) == [("outbox_full", None, None)]


@pytest.mark.parametrize(
    ("error", "remedy"),
    [("EROFS", "is mounted read-only"), ("EIO", "start again to recover from what is on the")],
)
def test_what_waiting_does_not_mend_ends_with_its_remedy(
    tmp_path: Path, error: str, remedy: str
) -> None:
    said = run(tmp_path, error, "30+")
    assert remedy in said
    box = open_box(tmp_path)
    found = numbers(contents(box, 100))
    box.close()
    assert found == list(range(1, len(found) + 1))
    assert found
