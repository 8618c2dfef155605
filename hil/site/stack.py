"""The full stack of one bench: nodes, line, gateway process, broker, collector; and its account."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gateway_agent.collector.intake import read_figures
from gateway_agent.status import Status
from hil.bench import Bench
from hil.demo.site import CollectorProcess, Site
from hil.engines.deadline import Deadline
from hil.site.ledger import Account, read_database
from hil.site.processes import GatewayProcess, Mosquitto, ProcessError

_SETTLE_S: Final = 60.0


@dataclass(slots=True)
class Reckoning:
    """What became of every record; ``readings`` are those in the collector's database.

    ``problems`` is empty exactly when all is accounted for.
    """

    readings: int = 0
    recorded: int = 0
    delivered: int = 0
    verified: int = 0
    duplicates: int = 0
    gaps: Counter[str] = field(default_factory=Counter)
    sampled: dict[str, Mapping[str, object]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


class FullStack:
    """Files below ``folder``; ``bench`` and ``broker`` run already."""

    def __init__(self, folder: Path, bench: Bench, broker: Mosquitto) -> None:
        self.bench = bench
        self.broker = broker
        self.site = Site(folder)
        self.site.write(bench, broker.port)
        self.collector = CollectorProcess(self.site.collector_toml)
        self.gateway = GatewayProcess(self.site.gateway_toml, folder / "state")

    async def start(self) -> None:
        """Collector, then gateway. SiteError, ProcessError."""
        await self.collector.start()
        await self.gateway.start()

    async def close(self) -> None:
        """End both, whatever state they are in."""
        await self.gateway.kill()
        await self.collector.stop()

    async def kill_gateway(self) -> None:
        """SIGKILL in the middle of its work, and a new start."""
        await self.gateway.kill()
        await self.gateway.start()

    def status(self) -> Status:
        """Ask the gateway for its status; ProcessError while it does not answer."""
        status = self.gateway.status()
        if status is None:
            raise ProcessError("the gateway answers no status; its log:\n" + self.gateway_log())
        return status

    def verified(self) -> int:
        """Readings in the collector's database."""
        value = read_figures(self.site.database)["readings_verified"]
        assert isinstance(value, int)
        return value

    def accounts(self) -> dict[str, Account]:
        """What the collector has of each role."""
        found = read_database(self.site.database)
        return {r: found.get(self.bench.device_id(r), Account()) for r in self.bench.roles}

    def gateway_log(self) -> str:
        """What the gateway has said, over all its lives."""
        return self.gateway.log()

    def collector_log(self) -> str:
        """What the collector has said."""
        return "\n".join(self.collector.lines) + "\n"

    async def settle(self) -> Reckoning:
        """Stop sampling, wait until everything is delivered, and count. ProcessError."""
        roles = self.bench.roles
        result = Reckoning()
        answers = await asyncio.gather(*(self.bench.nodes[r].stop_sampling() for r in roles))
        result.sampled = dict(zip(roles, answers, strict=True))
        # What is not there by then is a problem of the reckoning, not an error here.
        with suppress(TimeoutError):
            await Deadline(_SETTLE_S).until(lambda: self._all_there(result), "the last sample")
        status = self.status()
        self._count(result, status)
        return result

    def _all_there(self, result: Reckoning) -> bool:
        accounts = self.accounts()
        for role, said in result.sampled.items():
            last = _number(said, "sampled_frames")
            if last and last not in accounts[role].samples[_number(said, "boot_epoch")]:
                return False
        outbox = self.status().outbox
        return outbox is not None and outbox.depth == 0

    def _count(self, result: Reckoning, status: Status) -> None:
        figures = read_figures(self.site.database)
        result.readings = self.verified()
        result.duplicates = _number(figures, "duplicates")
        outbox = status.outbox
        if outbox is None:
            raise ProcessError(f"the gateway's outbox is not open: {status.waiting_for}")
        problems = result.problems
        for role, account in self.accounts().items():
            said = result.sampled[role]
            epoch, last = _number(said, "boot_epoch"), _number(said, "sampled_frames")
            result.gaps.update(gap.cause for gap in account.gaps)
            problems += [
                f"{role} sample {epoch}/{n} is missing" for n in account.missing(epoch, last)
            ]
            problems += [f"{role} gap without a known cause: {g}" for g in account.unexplained()]
            problems += [f"{role} sample {e}/{n} is there twice" for e, n in account.doubled()]
            if not account.readings:
                problems.append(f"no reading of role {role}")
        if outbox.depth:
            problems.append(f"{outbox.depth} records still wait in the outbox")
        if status.counters.node_tag_failures:
            problems.append(f"{status.counters.node_tag_failures} frames with a wrong tag")
        if figures["bad_signatures"]:
            problems.append(f"{figures['bad_signatures']} batches with a wrong signature")
        # In records, by the numbers of the stream: they outlive a killed gateway, its counters
        # do not, and no number is ever used again.
        result.recorded, result.delivered = outbox.last, outbox.receipted_to
        result.verified = self._records_verified()
        if not result.recorded == result.delivered == result.verified:
            problems.append(
                f"records: recorded {result.recorded}, delivered {result.delivered}, "
                f"verified {result.verified}"
            )

    def _records_verified(self) -> int:
        uri = f"{self.site.database.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as database:
            (count,) = database.execute("SELECT count(*) FROM records").fetchone()
        return int(count)


def _number(fields: Mapping[str, object], name: str) -> int:
    value = fields.get(name)
    assert isinstance(value, int), f"expected an integer {name}, got {value!r}"
    return value
