"""Bookkeeping over records: was every sample of a node recorded once, or named in a gap?

Reads records or the collector's tables themselves, so it trusts no counter of the gateway's.
"""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from protocols.uplink.record import CAUSES, GAP, SAMPLE, Gap, decode_record
from protocols.wire.sample import read_header


@dataclass(slots=True)
class Account:
    """One device: how often each sample was recorded (by boot epoch), gaps, events, readings."""

    samples: defaultdict[int, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    gaps: list[Gap] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    readings: int = 0

    def missing(self, boot_epoch: int, last: int) -> list[int]:
        """Samples 1 to ``last`` of a boot that are neither recorded nor in a gap with a range."""
        covered = set(self.samples[boot_epoch])
        for gap in self.gaps:
            if gap.boot_epoch == boot_epoch and gap.first is not None and gap.last is not None:
                covered.update(range(gap.first, min(gap.last, last) + 1))
        return [seq for seq in range(1, last + 1) if seq not in covered]

    def in_gaps(self) -> int:
        """How many samples the gaps name, in all boots."""
        return sum(
            gap.last - gap.first + 1
            for gap in self.gaps
            if gap.first is not None and gap.last is not None
        )

    def doubled(self) -> list[tuple[int, int]]:
        """Samples (boot epoch, sequence) recorded more than once or although a gap names them."""
        twice = [
            (epoch, seq)
            for epoch, counts in self.samples.items()
            for seq, count in counts.items()
            if count > 1
        ]
        for gap in self.gaps:
            if gap.boot_epoch is None or gap.first is None or gap.last is None:
                continue
            recorded = self.samples[gap.boot_epoch]
            twice += [(gap.boot_epoch, seq) for seq in recorded if gap.first <= seq <= gap.last]
        return twice

    def unexplained(self) -> list[Gap]:
        """Gaps whose cause is none the product knows."""
        return [gap for gap in self.gaps if gap.cause not in CAUSES]


def read_ledger(records: Iterable[bytes]) -> dict[str, Account]:
    """Accounts by device id. PeerError for a record that is none."""
    accounts: defaultdict[str, Account] = defaultdict(Account)
    for data in records:
        record = decode_record(data)
        account = accounts[record.device_id]
        account.readings += len(record.values)
        account.events += [event.name for event in record.events]
        if record.kind == GAP:
            assert record.gap is not None
            account.gaps.append(record.gap)
        elif record.kind == SAMPLE:
            assert record.frame is not None
            header = read_header(record.frame)
            account.samples[header.boot_epoch][header.seq] += 1
    return dict(accounts)


def read_database(path: Path) -> dict[str, Account]:
    """Accounts by device id from a collector's database. sqlite3.Error if it is none (yet)."""
    accounts: defaultdict[str, Account] = defaultdict(Account)
    uri = f"{path.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as database:
        for device, epoch, seq in database.execute(
            "SELECT device, boot_epoch, sample_seq FROM records WHERE kind = 'sample'"
        ):
            accounts[device].samples[epoch][seq] += 1
        for device, *gap in database.execute(
            "SELECT device, cause, boot_epoch, first, last, detail FROM gaps"
        ):
            accounts[device].gaps.append(Gap(*gap))
        for device, name in database.execute(
            "SELECT device, name FROM events JOIN records USING (stream_id, seq)"
            " ORDER BY stream_id, seq, number"
        ):
            accounts[device].events.append(name)
        for device, count in database.execute(
            "SELECT device, count(*) FROM readings JOIN records USING (stream_id, seq)"
            " GROUP BY device"
        ):
            accounts[device].readings = count
    return dict(accounts)
