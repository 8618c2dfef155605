"""A small medium gets full, and has room again as soon as there are receipts."""

import sys
from pathlib import Path

import pytest

from gateway_agent.store.medium import SMALLEST_MEDIUM, fitting

from .mounts import run_mounted
from .test_cli import a_site

SMALLEST = 4 << 20  # as the documentation has it


@pytest.mark.parametrize(("size", "limit"), [("4m", "limited"), ("2m", "not limited")])
def test_it_is_filled_and_emptied_over_and_over(tmp_path: Path, size: str, limit: str) -> None:
    """With the limit that the agent sets, a full outbox can be repaired too."""
    child = Path(__file__).with_name("small_medium_child.py")
    mount = f"mount -t tmpfs -o size={size} tmpfs '{tmp_path}'"
    done = run_mounted(mount, sys.executable, child, tmp_path, limit)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split()[-1] == "good"


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_medium_that_is_too_small_is_reported(tmp_path: Path, command: str) -> None:
    medium = tmp_path / "medium"
    medium.mkdir()
    path = a_site(tmp_path, "medium/state")
    words = "from gateway_agent.cli import app; app()"
    mount = f"mount -t tmpfs -o size={SMALLEST - 4096} tmpfs '{medium}'"
    done = run_mounted(mount, sys.executable, "-c", words, command, "--config", path)
    assert done.returncode == 2, done.stdout + done.stderr
    text = " ".join(done.stderr.split())
    assert "gateway.state_dir" in text
    assert f"on a file system of at least {SMALLEST} bytes, this has {SMALLEST - 4096}" in text
    assert "Traceback" not in text


def test_only_a_small_medium_limits_the_outbox(tmp_path: Path) -> None:
    assert fitting(tmp_path / "not yet" / "there", 1 << 20) == 1 << 20
    assert SMALLEST_MEDIUM == SMALLEST
