"""An oracle for the accounting of samples: was each one recorded once, or named in a gap?

It reads records, or the collector's tables, itself, so that it trusts no counter of the product;
and it shares no code with :mod:`protocols.uplink.account`, which it checks (decision 0014).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

from gateway_agent.collector.database import open_readonly
from protocols.uplink import CAUSES, GAP, SAMPLE, Gap, decode_record
from protocols.wire.sample import read_header


@dataclass(slots=True)
class DeviceLedger:
    """One device: how often each sample was recorded, gaps in their order, events, readings.

    A node with a new key counts its boots from 1 again, so samples are kept by key id as well. A
    gap has no key id: it is about the sample that follows it.
    """

    boots: defaultdict[tuple[int, int], Counter[int]] = field(  # (key id, boot epoch)
        default_factory=lambda: defaultdict(Counter)
    )
    gaps: list[Gap] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    readings: int = 0
    key_id: int = 0  # of the last sample
    gap_keys: list[int] = field(default_factory=list)  # of the gaps before the last sample

    def sample(self, key_id: int, boot_epoch: int, seq: int) -> None:
        """Enter one sample."""
        self.key_id = key_id
        self.boots[key_id, boot_epoch][seq] += 1
        self.gap_keys += [key_id] * (len(self.gaps) - len(self.gap_keys))

    @property
    def samples(self) -> defaultdict[int, Counter[int]]:
        """Return the samples under the key in force, by boot epoch."""
        own = {epoch: counts for (key, epoch), counts in self.boots.items() if key == self.key_id}
        return defaultdict(Counter, own)

    def missing(self, boot_epoch: int, last: int) -> list[int]:
        """Return the samples 1 to ``last`` of a boot that are in no record and in no gap.

        Counts samples under the key in force.
        """
        covered = set(self.samples[boot_epoch])
        for key, epoch, first, end in self._ranges():
            if (key, epoch) == (self.key_id, boot_epoch):
                covered.update(range(first, min(end, last) + 1))
        return [seq for seq in range(1, last + 1) if seq not in covered]

    def in_gaps(self) -> int:
        """Return how many samples the gaps name, in all boots."""
        return sum(last - first + 1 for _, _, first, last in self._ranges())

    def doubled(self) -> list[tuple[int, int]]:
        """Return samples (boot epoch, sequence) recorded twice, or recorded and named in a gap."""
        twice = [
            (epoch, seq)
            for (_, epoch), counts in self.boots.items()
            for seq, count in counts.items()
            if count > 1
        ]
        for key, epoch, first, last in self._ranges():
            recorded = self.boots.get((key, epoch), ())
            twice += [(epoch, seq) for seq in recorded if first <= seq <= last]
        return twice

    def unexplained(self) -> list[Gap]:
        """Return the gaps whose cause is in no list of the product."""
        return [gap for gap in self.gaps if gap.cause not in CAUSES]

    def _ranges(self) -> Iterator[tuple[int, int, int, int]]:
        """Yield key id, boot epoch, first and last sample of every gap that names them."""
        for gap, key in zip_longest(self.gaps, self.gap_keys, fillvalue=self.key_id):
            assert isinstance(gap, Gap)
            assert isinstance(key, int)
            if gap.boot_epoch is not None and gap.first is not None and gap.last is not None:
                yield key, gap.boot_epoch, gap.first, gap.last


def ledgers_of_records(records: Iterable[bytes]) -> dict[str, DeviceLedger]:
    """Return a ledger by device id. PeerError for bytes that are no record."""
    ledgers: defaultdict[str, DeviceLedger] = defaultdict(DeviceLedger)
    for data in records:
        record = decode_record(data)
        ledger = ledgers[record.device_id]
        ledger.readings += len(record.values)
        ledger.events += [event.name for event in record.events]
        if record.kind == GAP:
            assert record.gap is not None
            ledger.gaps.append(record.gap)
        elif record.kind == SAMPLE:
            assert record.frame is not None
            header = read_header(record.frame)
            ledger.sample(header.key_id, header.boot_epoch, header.seq)
    return dict(ledgers)


def ledgers_of_database(path: Path) -> dict[str, DeviceLedger]:
    """Return a ledger by device id from a collector's database. sqlite3.Error if it is none (yet).

    Use it for nodes that keep their key: the tables do not hold the key id of a sample.
    """
    ledgers: defaultdict[str, DeviceLedger] = defaultdict(DeviceLedger)
    with closing(open_readonly(path)) as database:
        for device, epoch, seq in database.execute(
            "SELECT device, boot_epoch, sample_seq FROM records WHERE kind = 'sample'"
        ):
            ledgers[device].sample(0, epoch, seq)
        for device, *gap in database.execute(
            "SELECT device, cause, boot_epoch, first, last, detail FROM gaps"
        ):
            ledgers[device].gaps.append(Gap(*gap))
        for device, name in database.execute(
            "SELECT device, name FROM events JOIN records USING (stream_id, seq)"
            " ORDER BY stream_id, seq, number"
        ):
            ledgers[device].events.append(name)
        for device, count in database.execute(
            "SELECT device, count(*) FROM readings JOIN records USING (stream_id, seq)"
            " GROUP BY device"
        ):
            ledgers[device].readings = count
    return dict(ledgers)
