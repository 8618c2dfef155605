"""One comparison of what was sampled, recorded, delivered and verified, for demo and scenarios.

Each figure is counted at its own place: samples by the nodes, records by the gateway's outbox,
readings by the gateway's counters, and all of them once more over the collector's database.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway_agent.collector.database import open_readonly
from gateway_agent.collector.figures import read_figures
from gateway_agent.status import Status
from hil.site.ledger import DeviceLedger, ledgers_of_database

#: Counters of the collector that stay 0 in every run.
REFUSALS: Final = ("bad_signatures", "records_refused")


@dataclass(frozen=True, slots=True)
class Stages:
    """How many readings, or records, have come how far."""

    recorded: int  # committed to the gateway's outbox
    delivered: int  # covered by a signed receipt
    verified: int  # in the collector's database

    def problem(self, unit: str) -> list[str]:
        """Return the difference in words, as a list of one or none."""
        if self.recorded == self.delivered == self.verified:
            return []
        counts = f"{self.recorded}, {self.delivered}, {self.verified}"
        return [f"{unit} recorded, delivered and verified differ: {counts}"]


@dataclass(frozen=True, slots=True)
class NodeAccount:
    """One node: its own figures of its last boot, and what the collector has of it."""

    boot_epoch: int
    samples_taken: int
    readings_sampled: int
    ledger: DeviceLedger

    @classmethod
    def of(cls, figures: Mapping[str, object], ledger: DeviceLedger | None) -> NodeAccount:
        """Take the figures that a node prints when it stops sampling."""
        return cls(
            _number(figures, "boot_epoch"),
            _number(figures, "sampled_frames"),
            _number(figures, "sampled_readings"),
            ledger or DeviceLedger(),
        )

    def unexplained(self) -> list[str]:
        """Return what the ledger cannot account for, in words."""
        epoch, ledger = self.boot_epoch, self.ledger
        missing = ledger.missing(epoch, self.samples_taken)
        return [
            *(f"sample {epoch}/{seq} is in no record and in no gap" for seq in missing),
            *(f"gap with the unknown cause {gap.cause!r}" for gap in ledger.unexplained()),
            *(f"sample {boot}/{seq} is there twice" for boot, seq in ledger.doubled()),
        ]


@dataclass(frozen=True, slots=True)
class SiteAccount:
    """The whole site at one moment.

    ``records`` are counted by their numbers in the stream, which outlive a killed gateway.
    ``readings`` are counted by the gateway since its start: None for a site whose
    gateway was started more than once. ``collected`` are the figures of the collector.
    """

    nodes: Mapping[str, NodeAccount]
    records: Stages
    readings: Stages | None
    status: Status
    collected: Mapping[str, int | dict[str, int]]

    @property
    def depth(self) -> int:
        """Return how many records wait in the outbox."""
        return 0 if self.status.outbox is None else self.status.outbox.depth

    def collector_count(self, name: str) -> int:
        """Return one counter of the collector, 0 if it has none of that name."""
        return _count(self.collected, name)

    def unexplained(self) -> list[str]:
        """Return every sample and gap of every node that nothing accounts for, in words."""
        nodes = self.nodes.items()
        return [f"{role} {text}" for role, node in nodes for text in node.unexplained()]

    def problems(self) -> list[str]:
        """Return what keeps the run from being a success, in words; empty: all is accounted for."""
        problems = self.records.problem("records")
        if self.readings is not None:
            problems += self.readings.problem("readings")
        problems += self.unexplained()
        empty = [role for role, node in self.nodes.items() if not node.ledger.readings]
        problems += [f"no reading of role {role}" for role in empty]
        if self.depth:
            problems.append(f"records that wait in the outbox: expected 0, got {self.depth}")
        counts = {name: self.collector_count(name) for name in REFUSALS}
        counts["node_tag_failures"] = self.status.counters.node_tag_failures
        return problems + [f"{n}: expected 0, got {count}" for n, count in counts.items() if count]


def compare(
    sampled: Mapping[str, Mapping[str, object]],
    device_ids: Mapping[str, str],
    status: Status,
    database: Path,
    gateway_starts: int,
) -> SiteAccount:
    """Return the account of a site now. sqlite3.Error if there is no database.

    ``sampled`` are the figures each node has printed when it stopped sampling, ``device_ids`` its
    id in the records, both by the node's name.
    """
    ledgers = ledgers_of_database(database)
    collected = read_figures(database)
    with closing(open_readonly(database)) as connection:
        (verified,) = connection.execute("SELECT count(*) FROM records").fetchone()
    outbox = status.outbox
    readings = Stages(
        status.counters.readings_recorded,
        status.counters.readings_delivered,
        _count(collected, "readings_verified"),
    )
    return SiteAccount(
        {n: NodeAccount.of(figures, ledgers.get(device_ids[n])) for n, figures in sampled.items()},
        Stages(outbox.last, outbox.receipted_to, verified) if outbox else Stages(0, 0, verified),
        readings if gateway_starts == 1 else None,
        status,
        collected,
    )


def _count(figures: Mapping[str, object], name: str) -> int:
    value = figures.get(name, 0)
    assert isinstance(value, int), f"expected an integer {name} of the collector, got {value!r}"
    return value


def _number(figures: Mapping[str, object], name: str) -> int:
    value = figures.get(name)
    assert isinstance(value, int), f"expected an integer {name} of the node, got {value!r}"
    return value
