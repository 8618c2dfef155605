"""Copies that a row makes before it destroys files: what was in the records that a gap names.

A gap of the outbox or of a collector that went back names numbers of records, not slots. The copy
from before the damage shows which slots these were. The copy is whole, so it is read with the
product's own code; each value in it is looked up in the device's log like any other.
"""

import re
import shutil
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from protocols.uplink import Gap, decode_record
from tests.unit.gateway_agent.store_help import contents, open_box

from .site import GATEWAY, Account, PromiseSite

_STREAM: Final = re.compile(r"stream (\d+)")
_RANGES: Final = (
    "SELECT detail, first, last FROM gaps WHERE device = ? AND first IS NOT NULL ORDER BY first"
)


@dataclass
class Evidence:
    """Records by stream and number, as copies have them: the device's name, and what it says."""

    records: dict[tuple[int, int], tuple[str, int | Gap]] = field(default_factory=dict)

    def of_outbox(self, state: Path, scratch: Path) -> list[bytes]:
        """Add what a gateway that does not run has not delivered yet; return these records."""
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.copytree(state, scratch, ignore=shutil.ignore_patterns("*.sock", "quarantine"))
        with closing(open_box(scratch)) as box:
            stats = box.stats()
            waiting = contents(box, 500)
            for number, data in enumerate(waiting, stats.receipted_to + 1):
                record = decode_record(data)
                said = record.gap or round(record.values[0].value)
                self.records[stats.stream, number] = record.device_id, said
        return waiting

    def of_collector(self, database: Path) -> None:
        """Add what a collector has stored."""
        uri = f"{database.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=10)) as connection:
            values = connection.execute(
                "SELECT stream, seq, device, value FROM readings JOIN records USING"
                " (stream_id, seq) JOIN streams ON streams.id = stream_id"
            ).fetchall()
            gaps = connection.execute(
                "SELECT stream, seq, device, cause, boot_epoch, first, last, detail, slots,"
                " from_ms, to_ms FROM gaps JOIN streams ON streams.id = stream_id"
            ).fetchall()
        self.records |= {(stream, seq): (device, value) for stream, seq, device, value in values}
        self.records |= {(row[0], row[1]): (row[2], Gap(*row[3:])) for row in gaps}

    def lost(self, site: PromiseSite, found: list[str]) -> Mapping[int, Account]:
        """Return by unit what was in the records that gaps name by their numbers."""
        lost = {unit: Account([], []) for unit in range(1, len(site.periods) + 1)}
        for key in _named(site.rows(_RANGES, GATEWAY), found):
            if key not in self.records:
                found.append(f"a gap names record {key[1]} of stream {key[0]}, which nobody wrote")
                continue
            device, said = self.records[key]
            unit = int(device.rpartition("d")[2]) if device.startswith(f"{GATEWAY}.d") else 0
            if unit and isinstance(said, Gap):
                lost[unit].gaps.append(said)
            elif unit and isinstance(said, int):
                lost[unit].values.append(said & 0xFFFFFF)
        return lost


def _named(gaps: Iterable[tuple[str, int, int]], found: list[str]) -> list[tuple[int, int]]:
    """Return stream and number of each record that a gap names."""
    named: list[tuple[int, int]] = []
    for detail, first, last in gaps:
        stream = _STREAM.search(detail)
        if stream is None:
            found.append(f"a gap names records and no stream: {detail}")
            continue
        named += [(int(stream[1]), number) for number in range(first, last + 1)]
    if len(named) != len(set(named)):
        found.append(f"gaps name a record twice: {sorted(named)}")
    return sorted(set(named))
