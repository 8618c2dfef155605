"""One run of one row: a site is started, faults happen to it, and the promise is checked."""

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, TypeVar

from msgspec.structs import replace

from gateway_agent.status import Reconciliation
from hil.site.mosquitto import MosquittoBroker
from tests.paths import ROOT

from .evidence import Evidence
from .oracle import violations
from .site import COMMAND, STOP_S, PromiseSite, site_of, until

T = TypeVar("T")

PERIODS: Final = (200, 250)  # ms, of the two units that a row polls unless it has others
_BOOKS_S: Final = 20.0  # for the last receipts before the gateway's own books are read
_BALANCED: Final = Reconciliation(unaccounted=0, sequence=0, schedule=0, receipts=0, archive=0)


@dataclass
class Trial:
    """What the faults of a row work with."""

    site: PromiseSite
    random: random.Random
    is_whole: bool
    number: int  # of this run
    runs: int  # of its row
    faults: int = 0  # that have happened
    violations: list[str] = field(default_factory=list)
    evidence: Evidence = field(default_factory=Evidence)
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)  # is left after the check

    def rounds(self, short: int, whole: int) -> int:
        """How many faults this run has."""
        return whole if self.is_whole else short

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """Return what this run does of what all runs of the row do together."""
        return items[self.number :: self.runs]

    async def begin(self, **configuration: object) -> None:
        """Start everything and wait for the first values."""
        periods = configuration.pop("periods", PERIODS)
        self.site.configure(periods, **configuration)  # type: ignore[arg-type] # as it has them
        await self.site.collector.start()
        await self.site.gateway.start()
        await self.site.stores(1)

    def check(self, is_kept: bool, violation: str) -> None:
        """Note a violation unless ``is_kept``."""
        if not is_kept:
            self.violations.append(violation)


class Patches(Protocol):
    """Code that runs in the processes before their commands do."""

    @property
    def gateway(self) -> str: ...
    @property
    def collector(self) -> str: ...


Faults = Callable[[Trial], Awaitable[None]]


@dataclass(frozen=True)
class Row:
    """One row of the table: ``faults`` happen ``short`` or ``whole`` times, each to a new site."""

    name: str
    what: str  # happens, for people
    faults: Faults
    short: int = 1
    whole: int = 2
    tools: tuple[str, ...] = ()
    alarms: bool = False  # receipts below ours, or of another chain, are what the fault causes
    forgets: bool = False  # the gateway loses its memory of what it delivered


async def run(
    row: Row,
    number: int,
    broker: MosquittoBroker,
    root: Path,
    seed: str,
    is_whole: bool,
    patches: Patches | None = None,
) -> Trial:
    """Let the faults of a row happen, then check the promise."""
    async with site_of(broker, root) as site:
        choose = random.Random(f"{seed}/{row.name}/{number}")  # it must repeat
        trial = Trial(site, choose, is_whole, number, row.whole if is_whole else row.short)
        if patches is not None:
            site.gateway.patch(patches.gateway)
            site.collector.patch(patches.collector)
        async with trial.stack:
            await row.faults(trial)
            await finish(trial, row)
    return trial


async def finish(trial: Trial, row: Row) -> None:
    """Let everything run undisturbed, stop it, and compare the device's log with the database.

    What the gateway misses at its very end it names when it runs again. So what is found is looked
    at once more after another start.
    """
    found: list[str] = []
    for _ in range(2):
        await _settle(trial, row)
        found = compare(trial, row)
        if not found:
            break
    trial.violations += found


async def _settle(trial: Trial, row: Row) -> None:
    site = trial.site
    for program in (site.collector, site.gateway):
        if not program.pid:
            await program.start()
    await site.stores(6)
    books = await _books(site)
    if row.alarms and books is not None:
        books = replace(books, unaccounted=books.unaccounted - books.archive, archive=0)
    trial.check(books == _BALANCED, f"the gateway's own books: {books}")
    await stop(trial)
    site.collector.send(signal.SIGTERM)
    await site.collector.ended()
    status, output = await audit(site)
    trial.check(status == 0, f"the audit of the database: {output}")


def compare(trial: Trial, row: Row) -> list[str]:
    """Return the violations of all units, by the device's log and the collector's database."""
    site = trial.site
    found: list[str] = []
    lost = trial.evidence.lost(site, found)
    for unit, period_ms in enumerate(site.periods, 1):
        account, times = site.account(unit), site.device.log[unit].times
        begin_ms = site.device.asked[0][1]
        of_unit = violations(account, times, begin_ms, period_ms, lost[unit], row.forgets)
        found += [f"unit {unit}: {violation}" for violation in of_unit]
    return found


async def _books(site: PromiseSite) -> Reconciliation | None:
    """Return what the gateway cannot account for by its own books."""
    await until(lambda: site.status() is not None, "a status", _BOOKS_S)
    return await asyncio.to_thread(site.unaccounted)


async def stop(trial: Trial) -> None:
    """Stop the gateway with SIGTERM: it must end in time, with status 0."""
    gateway = trial.site.gateway
    gateway.send(signal.SIGTERM)
    try:
        status = await gateway.ended(STOP_S)
    except AssertionError:
        trial.violations.append(f"the gateway has not ended {STOP_S} s after SIGTERM")
        await gateway.kill()
    else:
        trial.check(status == 0, f"after SIGTERM the gateway ended with status {status}")


async def audit(site: PromiseSite) -> tuple[int, str]:
    """Prove the collector's database from its evidence; return exit status and output."""
    words = ("audit", site.database, "--config", site.collector_toml)
    process = await asyncio.create_subprocess_exec(
        *site.collector.launcher,
        *COMMAND,
        *map(str, words),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()
