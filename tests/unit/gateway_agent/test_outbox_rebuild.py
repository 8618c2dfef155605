"""A rebuild of the outbox on a medium that has no room for it loses no record."""

import sys
from pathlib import Path

import pytest

from .mounts import run_mounted


@pytest.mark.parametrize("why", ["refused", "group", "first_page"])
def test_a_rebuild_at_any_amount_of_free_space_keeps_every_record(tmp_path: Path, why: str) -> None:
    """A real file system is full to the last 4 KiB at every place where the rebuild writes."""
    child = Path(__file__).with_name("full_disk_rebuild_child.py")
    mount = f"mount -t tmpfs -o size=6m tmpfs '{tmp_path}'"
    done = run_mounted(mount, sys.executable, child, tmp_path, why)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    lost = [line for line in lines if line[3] != "True"]
    assert not lost, "free bytes, end of the rebuild, records left:\n" + "\n".join(map(str, lost))
    assert {line[1] for line in lines} == {"full", "done"}, "the sweep must cover both outcomes"
