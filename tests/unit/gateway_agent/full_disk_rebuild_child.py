"""Run by test_outbox_rebuild.py inside a file system of 6 MiB: ``... DIRECTORY WHY``.

Begins a new stream after a refused receipt (WHY is ``refused``), or repairs a damaged group
(``group``), or that with a damaged first page (``first_page``), at every amount of free space in
steps of 4 KiB, from none to more than enough. Prints one line for each: free bytes, how that
ended, how many records the next start found when there was room again, and whether they are exactly
those that must be there.
"""

import logging
import os
import shutil
import sys
from contextlib import closing
from pathlib import Path
from typing import Final

from gateway_agent.store.errors import StoreFull
from tests.unit.gateway_agent.store_help import contents, numbers, open_box, records

COUNT: Final = 300
GROUP: Final = 30
STEP: Final = 4096


def take_all_but(path: Path, free: int) -> None:
    """Fill the file system with ``path`` until ``free`` bytes are left."""
    space = os.statvfs(path.parent)
    path.write_bytes(bytes(max(0, space.f_bavail * space.f_frsize - free)))


def rebuild(state: Path, damaged: bool) -> str:
    """Begin a new stream, or open a damaged outbox; return how that ended."""
    try:
        with closing(open_box(state)) as box:
            if not damaged:
                box.rebuild("db_truncated", "the collector has another head")
    except StoreFull:
        return "full"
    return "done"


def main(root: Path, why: str) -> None:
    """Rebuild at each amount of free space."""
    damaged = why != "refused"
    logging.disable(logging.CRITICAL)
    source, state, ballast = root / "source", root / "state", root / "ballast"
    with closing(open_box(source)) as box:
        for first in range(1, COUNT + 1, GROUP):
            box.append(records(first, GROUP), {})
    (source / "outbox.reserve").unlink(missing_ok=True)
    database = source / "outbox.db"
    expected = list(range(1, COUNT + 1))
    if damaged:
        content = bytearray(database.read_bytes())
        content[content.index(records(1 + GROUP, 1)[0].data)] ^= 1
        if why == "first_page":
            content[0] ^= 1
        database.write_bytes(content)
        del expected[GROUP : 2 * GROUP]
    for free in range(0, 6 * database.stat().st_size, STEP):
        shutil.copytree(source, state)
        take_all_but(ballast, free)
        ended = rebuild(state, damaged)
        ballast.unlink()
        with closing(open_box(state)) as box:
            found = numbers(contents(box, 500))
        print(free, ended, len(found), found == expected)  # noqa: T201 # what the test reads
        shutil.rmtree(state)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
