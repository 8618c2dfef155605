"""One flipped bit in the first page of the collector's database: it runs, or names the remedy."""

import random
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pytest

from gateway_agent.collector.errors import RESTORE

from .test_collector import Chain, Collector, readings
from .test_collector_evidence import files, restore

PAGE_BITS = 8 * 4096
HEADER_BITS = 8 * 100  # SQLite file format, section 1.3
SAMPLE = sorted(
    random.Random(11).sample(range(HEADER_BITS), 120)
    + random.Random(12).sample(range(HEADER_BITS, PAGE_BITS), 80)
)
RUNS, REFUSED = "runs", "refused"


def outcome(directory: Path, batch: bytes) -> str:
    """Start, take one more batch, and find everything there; or find a remedy named."""
    try:
        collector = Collector(directory)
    except sqlite3.DatabaseError as error:
        return REFUSED if RESTORE in str(error) else str(error)
    with closing(collector.database):
        assert collector.receiver.receive(batch, "gw-1").verdict == "batches_accepted"
        assert collector.rows("SELECT count(*), sum(value) FROM readings WHERE point_id = 1") == [
            (25, 2 * sum(range(1, 26)))
        ]
    return RUNS


def check_bits(directory: Path, bits: Iterable[int]) -> None:
    collector, chain = Collector(directory), Chain()
    for first in range(1, 21, 5):
        collector.receiver.receive(chain.batch(readings(first, first + 4)), "gw-1")
    collector.database.close()
    whole, batch = files(directory), chain.batch(readings(21, 25))
    found = set()
    for bit in bits:
        damaged = bytearray(whole["collector.db"])
        damaged[bit // 8] ^= 1 << bit % 8
        restore(directory, whole | {"collector.db": bytes(damaged)})
        try:
            found.add(outcome(directory, batch))
        except Exception as error:
            raise AssertionError(f"bit {bit}") from error
    assert found == {RUNS, REFUSED}


def test_some_bits(tmp_path: Path) -> None:
    check_bits(tmp_path, SAMPLE)


@pytest.mark.exhaustive
@pytest.mark.timeout(3600)
def test_every_bit(tmp_path: Path) -> None:
    check_bits(tmp_path, range(PAGE_BITS))
