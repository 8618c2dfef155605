"""Files that are damaged, and backups that are restored: what they held is named, or found."""

import asyncio
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from .site import PromiseSite, passed, until
from .trial import Row, Trial, audit

_BACKLOG: Final = 12


async def backlog(trial: Trial) -> list[bytes]:
    """Leave records in the outbox that the collector has not got, and end the gateway."""
    site = trial.site
    await until(lambda: is_delivered(site), "everything is delivered")
    await asyncio.to_thread(site.broker.kill)
    await _polls(site, _BACKLOG)
    site.gateway.send(signal.SIGTERM)  # so that the log is moved into the main file
    await site.gateway.ended()
    return trial.evidence.of_outbox(site.state, site.root / "evidence")


def is_delivered(site: PromiseSite) -> bool:
    """Whether the outbox is empty."""
    status = site.status()
    return status is not None and status.outbox is not None and not status.outbox.depth


async def redeliver(trial: Trial) -> None:
    """Start again what :func:`backlog` has ended, and wait until it works."""
    await asyncio.to_thread(trial.site.broker.start)
    await trial.site.gateway.start()
    await trial.site.stores(2)


def flip_record(trial: Trial, waiting: Sequence[bytes]) -> None:
    """Flip one bit in the bytes of a record that waits in the outbox."""
    path = trial.site.state / "outbox.db"
    data = trial.random.choice(waiting)
    begin = path.read_bytes().index(data)
    flip(trial, path, range(begin, begin + len(data)))


def flip(trial: Trial, path: Path, places: range) -> None:
    """Flip one bit of a file at one of ``places``."""
    content = bytearray(path.read_bytes())
    content[trial.random.choice(places)] ^= 1 << trial.random.randrange(8)
    path.write_bytes(content)
    trial.faults += 1


async def damaged_outbox(trial: Trial) -> None:
    """Flip a bit in the bytes of a record that waits; the gap names its group."""
    await trial.begin()
    for _ in range(trial.rounds(1, 8)):
        flip_record(trial, await backlog(trial))
        await redeliver(trial)


async def damaged_collector(trial: Trial) -> None:
    """Flip a bit of a stored record; the audit finds it, and the file is restored."""
    await trial.begin()
    site = trial.site
    for _ in range(trial.rounds(1, 8)):
        await site.stores(4)
        site.collector.send(signal.SIGTERM)
        await site.collector.ended()
        whole = site.database.read_bytes()
        trial.check(await _audited(site) == 0, "the audit of a whole database is not good")
        batches = site.rows("SELECT data FROM batches WHERE data IS NOT NULL")
        data = trial.random.choice(batches)[0][:512]  # what is on the batch's first page
        begin = whole.index(data[:64])
        flip(trial, site.database, range(begin, begin + 64))
        trial.check(await _audited(site) != 0, "the audit of a flipped bit is good")
        site.database.write_bytes(whole)
        await site.collector.start()


async def _audited(site: PromiseSite) -> int:
    status, _ = await audit(site)
    return status


def _image(files: Sequence[Path]) -> Mapping[Path, bytes]:
    return {file: file.read_bytes() for file in files if file.is_file()}


def _restore(files: Sequence[Path], image: Mapping[Path, bytes]) -> None:
    for file in files:
        file.unlink(missing_ok=True)
    for file, content in image.items():
        file.write_bytes(content)


def _collector_files(site: PromiseSite) -> list[Path]:
    name = site.database.name
    return [site.root / name, *(site.root / f"{name}-{end}" for end in ("wal", "shm"))]


async def restored_collector(trial: Trial) -> None:
    """Restore the collector's database of a moment ago; what is gone is named by its numbers."""
    await trial.begin()
    site = trial.site
    for _ in range(trial.rounds(1, 6)):
        await site.collector.kill()
        files = _collector_files(site)
        image = _image(files)
        await site.collector.start()
        await site.stores(trial.random.randint(2, 8))
        await site.collector.kill()
        trial.evidence.of_collector(site.database)
        _restore(files, image)
        trial.faults += 1
        await passed(trial.random.uniform(0, 500))
        await site.collector.start()
        await site.stores(2)


def _state_files(site: PromiseSite) -> list[Path]:
    return [path for path in site.state.iterdir() if path.is_file()]


async def restored_gateway(trial: Trial) -> None:
    """Restore the gateway's state of a moment ago, which knows nothing of what came after it.

    It holds records that were delivered since. Every other time the gateway meets no receipt
    before it has more records than it ever had.
    """
    await trial.begin()
    site, choose = trial.site, trial.random
    for number in range(trial.rounds(1, 6)):
        await asyncio.to_thread(site.broker.kill)
        await _polls(site, 4)
        await site.gateway.kill()
        image = _image(_state_files(site))
        await asyncio.to_thread(site.broker.start)
        await site.gateway.start()
        more = choose.randint(2, 8)
        await site.stores(more)
        await site.gateway.kill()
        _restore(_state_files(site), image)
        trial.faults += 1
        await passed(choose.uniform(0, 500))
        if number % 2:
            await site.gateway.start()
        else:
            await asyncio.to_thread(site.broker.kill)
            await site.gateway.start()
            await _polls(site, 4 * more + 20)
            await asyncio.to_thread(site.broker.start)
        await site.stores(2)


async def _polls(site: PromiseSite, count: int) -> None:
    """Wait for so many polls of all units together."""
    asked = len(site.device.asked)
    await until(lambda: len(site.device.asked) >= asked + count, "polls")


ROWS = (
    Row("outbox damaged", "a bit of a waiting record flips in `outbox.db`", damaged_outbox),
    Row(
        "collector damaged",
        "a bit of a stored batch flips; the audit must find it",
        damaged_collector,
    ),
    Row(
        "collector restored",
        "the collector's database is replaced by an older copy of itself",
        restored_collector,
        alarms=True,
    ),
    Row(
        "gateway restored",
        "the gateway's state is replaced by an older copy of itself",
        restored_gateway,
        alarms=True,
        forgets=True,
    ),
)
