"""A rebuild of the outbox on a medium that has no room for it loses no record."""

import sys
from pathlib import Path

import pytest

from gateway_agent.store.errors import StoreFull
from gateway_agent.store.salvage import MissingRange

from .mounts import run_mounted
from .store_help import open_box, records


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


@pytest.mark.parametrize("pages", [256, 271, 300])
def test_a_full_outbox_begins_a_new_stream(tmp_path: Path, pages: int) -> None:
    """As when the collector went back: what waits is kept, and room comes with its receipts."""
    box = open_box(tmp_path, max_bytes=pages * 4096)
    number = 1
    for count in (100, 1):  # to the last byte
        try:
            while True:
                box.append(records(number, count), {})
                number += count
        except StoreFull:
            pass
    kept = box.stats().depth
    assert kept == number - 1
    box.rebuild("db_truncated", "the collector went back", MissingRange(1, 5, "went back"))
    assert box.stats().depth == kept + 1
    piece = box.slice(0, 5000, 1 << 30)
    assert piece is not None
    assert piece.records[1:] == tuple(records(1, len(piece.records) - 1))
    with pytest.raises(StoreFull):
        box.append(records(number, 5000), {})
    box.release(piece.stream, piece.last, piece.head)
    box.append(records(number, 1), {})
    box.close()
    again = open_box(tmp_path, max_bytes=pages * 4096)
    assert again.stats().depth == kept + 2 - len(piece.records)
    again.close()
