"""Read the good records of a damaged outbox, and move the damaged files into quarantine."""

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from gateway_agent.directories import make_directory, sync_directory
from protocols.uplink import Record

from . import group_table
from .errors import StoreDamaged

MAX_QUARANTINED: Final = 3  # sets of damaged files that are kept for an inspection


class MissingRange(NamedTuple):
    """Records ``first`` to ``last`` of the old stream cannot be read; ``why`` is for people."""

    first: int
    last: int
    why: str


class KeptRange(NamedTuple):
    """Records that prove themselves, from ``first`` of the old stream on, all of one boot."""

    first: int
    boot_id: bytes
    records: tuple[Record, ...]


def good_records(
    connection: sqlite3.Connection, begin: int | None, end: int, why: str
) -> Iterator[KeptRange | MissingRange]:
    """Read the records of every group that proves itself, and in their places what is missing.

    Where SQLite cannot read on, the rest is fetched from the other end, so a broken page costs the
    groups on it and no others. ``begin``: the first record wanted, None for whatever comes first;
    ``end``: the last one known to have been written; ``why``: what is known to be wrong.
    """
    expected = begin
    reason = why
    for first in group_table.reachable(connection):
        try:
            group = group_table.group_at(connection, first)
        except (sqlite3.Error, StoreDamaged) as error:
            reason = str(error)
            continue
        if group is None:
            continue
        if expected is None:
            expected = group.first
        if group.last < expected:
            continue
        if group.first > expected:
            yield MissingRange(expected, group.first - 1, reason)
            expected = group.first
        yield KeptRange(expected, group.boot_id, group.records[expected - group.first :])
        expected, reason = group.last + 1, why
    if expected is not None and end >= expected:
        yield MissingRange(expected, end, reason)


def quarantine(directory: Path, files: list[Path], label: str) -> Path:
    """Move ``files`` (those that exist) into a new folder; only the newest few are kept."""
    place = directory / "quarantine"
    make_directory(place)
    sets = sorted((path for path in place.iterdir() if _number(path)), key=_number)
    target = place / f"{_number(sets[-1]) + 1 if sets else 1}-{label}"
    make_directory(target)
    for file in files:
        if file.exists():
            file.replace(target / file.name)
    sync_directory(target)
    sync_directory(directory)
    for old in sets[: max(0, len(sets) + 1 - MAX_QUARANTINED)]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def _number(path: Path) -> int:
    number = path.name.partition("-")[0]
    return int(number) if number.isdecimal() else 0
