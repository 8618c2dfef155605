"""The good records of an outbox that is damaged, and a place for the damaged files."""

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from protocols.uplink.record_types import Record

from .errors import StoreDamaged
from .group import COLUMNS, group_of
from .witness import sync_directory

MAX_QUARANTINED: Final = 3  # sets of damaged files kept for whoever wants to look
_LAST: Final = (1 << 63) - 1


class Missing(NamedTuple):
    """Records ``first`` to ``last`` of the old stream are not to be had; ``why`` is for people."""

    first: int
    last: int
    why: str


class Kept(NamedTuple):
    """Records that prove themselves, from ``first`` of the old stream on, all of one boot."""

    first: int
    boot_id: bytes
    records: tuple[Record, ...]


def good_records(
    connection: sqlite3.Connection, begin: int | None, end: int, why: str
) -> Iterator[Kept | Missing]:
    """The records of every group that proves itself, and in their places what is missing.

    Where SQLite cannot read on, the rest is fetched from the other end, so a broken page costs the
    groups on it and no others. ``begin``: the first record wanted, None for whatever comes first;
    ``end``: the last one known to have been written; ``why``: what is known to be wrong.
    """
    expected = begin
    reason = why
    for first in _keys(connection):
        try:
            row = connection.execute(
                f"SELECT {COLUMNS} FROM groups WHERE first = ?",  # noqa: S608 # constant
                (first,),
            ).fetchone()
            if row is None:
                continue
            group = group_of(row)
        except (sqlite3.Error, StoreDamaged) as error:
            reason = str(error)
            continue
        if expected is None:
            expected = group.first
        if group.last < expected:
            continue
        if group.first > expected:
            yield Missing(expected, group.first - 1, reason)
            expected = group.first
        yield Kept(expected, group.boot_id, group.records[expected - group.first :])
        expected, reason = group.last + 1, why
    if expected is not None and end >= expected:
        yield Missing(expected, end, reason)


def _keys(connection: sqlite3.Connection) -> list[int]:
    """The keys that can be reached, rising: forward to the damage, then backward to it."""
    found: set[int] = set()
    for order in ("ASC", "DESC"):
        try:
            for (key,) in connection.execute(
                f"SELECT first FROM groups ORDER BY first {order}"  # noqa: S608 # constant
            ):
                if isinstance(key, int) and 0 < key <= _LAST:
                    found.add(key)
            break
        except sqlite3.Error:
            continue
    return sorted(found)


def quarantine(directory: Path, files: list[Path], label: str) -> Path:
    """Move ``files`` (those that exist) into a new folder; only the newest few are kept."""
    place = directory / "quarantine"
    place.mkdir(mode=0o700, exist_ok=True)
    sets = sorted((path for path in place.iterdir() if _number(path)), key=_number)
    target = place / f"{_number(sets[-1]) + 1 if sets else 1}-{label}"
    target.mkdir(mode=0o700)
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
