"""Disks that fill up and are freed again: a small file system holds outbox or database."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

from tests.conftest import not_tested
from tests.unit.gateway_agent.full_disk_child import fill_up

from .site import passed, until
from .trial import Row, Trial

_SIZE: Final = "8m"
_BALLAST: Final = "ballast"


class SmallDisk:
    """A file system in a mount namespace that ends with this process.

    ``path`` is where it is for the test, ``enter`` what a command begins with to see it at
    ``place``, where it was mounted.
    """

    def __init__(self, place: Path, path: Path, enter: tuple[str, ...]) -> None:
        self.place = place
        self.path = path
        self.enter = enter

    def fill(self) -> None:
        """Take what is left of it."""
        fill_up(self.path / _BALLAST)

    def free(self) -> None:
        """Give it back."""
        (self.path / _BALLAST).unlink()


@asynccontextmanager
async def small_disk(place: Path) -> AsyncIterator[SmallDisk]:
    """Mount a small file system at ``place``; skips the test where that is not allowed."""
    place.mkdir()
    own = () if os.geteuid() == 0 else ("-r",)
    holder = await asyncio.create_subprocess_exec(
        *("unshare", *own, "-m", "sh", "-c"),
        f'mount -t tmpfs -o size={_SIZE} promise "{place}" && echo ready && exec cat',
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        line = await holder.stdout.readline()
        if line != b"ready\n":
            not_tested(f"no file system can be mounted in a namespace here: {line.decode()}")
        user = ("-U", "--preserve-credentials") if own else ()
        enter = ("nsenter", "-t", str(holder.pid), *user, "-m", "--")
        yield SmallDisk(place, Path(f"/proc/{holder.pid}/root{place}"), enter)
    finally:
        holder.stdin.close()
        await holder.wait()


async def full_gateway(trial: Trial) -> None:
    """Fill the disk of the outbox; the gateway waits for room, or is killed and started without.

    The collector is away until it is full: with receipts the outbox needs no more room than it has.
    """
    site, choose = trial.site, trial.random
    disk = await trial.stack.enter_async_context(small_disk(site.root / "gateway-disk"))
    site.state, site.gateway.launcher = disk.path / "state", disk.enter
    await trial.begin(state="gateway-disk/state")
    for number in range(trial.rounds(2, 6)):
        await site.collector.kill()
        before = site.times_full()
        disk.fill()
        trial.faults += 1
        await until(lambda: site.times_full() > before, "a full outbox")  # noqa: B023 # called now
        await passed(choose.uniform(0, 1500))
        await site.collector.start()
        if number % 2:
            await site.gateway.kill()
            await site.gateway.start()
            await passed(choose.uniform(0, 1500))
        disk.free()
        await site.stores(2)


async def full_collector(trial: Trial) -> None:
    """Fill the disk of the collector's database; a collector that ends is started again."""
    site, choose = trial.site, trial.random
    disk = await trial.stack.enter_async_context(small_disk(site.root / "collector-disk"))
    site.database, site.collector.launcher = disk.place / "collector.db", disk.enter
    site.readable = partial(_copied, disk.path, site.root / "copy")
    await trial.begin(database="collector-disk/collector.db")
    for _ in range(trial.rounds(2, 6)):
        disk.fill()
        trial.faults += 1
        await passed(choose.uniform(500, 2500))
        disk.free()
        if not site.collector.pid:
            await site.collector.start()
        await site.stores(2)


def _copied(source: Path, target: Path) -> Path:
    """Return a copy of a database that SQLite cannot open where it is: it would follow the link.

    While it is written the copy may be none; whoever reads it tries again.
    """
    target.mkdir(exist_ok=True)
    for name in ("collector.db", "collector.db-wal", "collector.db-shm"):
        (target / name).unlink(missing_ok=True)
        if not name.endswith("-shm") and (source / name).exists():
            shutil.copyfile(source / name, target / name)
    return target / "collector.db"


ROWS = (
    Row("outbox disk full", "the disk of the outbox fills up and is freed", full_gateway),
    Row("collector disk full", "the disk of the collector fills up and is freed", full_collector),
)
