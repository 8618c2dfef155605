"""The naive script on the same devices as the gateway, counted in its own database."""

import contextlib
import sqlite3
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .delivered import Load
from .process import count_when_it_rises, cpu_seconds, running


@dataclass(frozen=True)
class NaiveRun:
    """Rows a second in its database, and CPU seconds for a million of them."""

    per_s: float
    cpu_s: float


def naive_run(load: Load, ports: Sequence[int], mqtt: int, seconds: float) -> NaiveRun:
    """Run the script's two halves for ``seconds`` after a warm-up."""
    program = [sys.executable, "-m", "tests.bench.naive"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        database, log = folder / "naive.db", folder / "naive.log"
        asked = (mqtt, load.registers, load.units, load.period_ms, *ports)
        with running([*program, "store", str(mqtt), str(database)], folder / "store.log") as store:
            count_when_it_rises(database.exists, store, folder / "store.log")
            with running([*program, "poll", *map(str, asked)], log) as poll:

                def rise() -> tuple[float, int, float]:
                    at, rows = count_when_it_rises(lambda: _rows(database), poll, log)
                    return at, rows, cpu_seconds(store.pid) + cpu_seconds(poll.pid)

                rise()
                time.sleep(load.warm_up_s)
                start, before, cpu = rise()
                time.sleep(seconds)
                end, after, cpu_end = rise()
                stored = after - before
                return NaiveRun(stored / (end - start), (cpu_end - cpu) / stored * 1e6)


def _rows(database: Path) -> int:
    with contextlib.closing(sqlite3.connect(database, timeout=10)) as connection:
        try:
            row = connection.execute("SELECT max(rowid) FROM readings").fetchone()
        except sqlite3.OperationalError:
            return 0
    return int(row[0] or 0)
