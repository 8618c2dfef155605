"""Files that are damaged or lost: what they held is named, by the numbers of the records."""

import asyncio
import signal
from collections.abc import Sequence
from typing import Final

from .site import PromiseSite, until
from .trial import Trial

_BACKLOG: Final = 12


async def backlog(trial: Trial) -> list[bytes]:
    """Leave records in the outbox that the collector has not got, and end the gateway."""
    site = trial.site
    await until(lambda: is_delivered(site), "everything is delivered")
    await asyncio.to_thread(site.broker.kill)
    asked = len(site.device.asked)
    await until(lambda: len(site.device.asked) >= asked + _BACKLOG, "polls")
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
    site, choose = trial.site, trial.random
    path = site.state / "outbox.db"
    content = bytearray(path.read_bytes())
    data = choose.choice(waiting)
    at = content.index(data) + choose.randrange(len(data))
    content[at] ^= 1 << choose.randrange(8)
    path.write_bytes(content)
    trial.faults += 1
