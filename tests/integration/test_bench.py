"""The bench measures what it says: its short form, and the script that a user would write."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.beside import naive_run
from tests.bench.delivered import Load
from tests.bench.servers import broker_of, modbus_servers
from tests.bench.wire import Seen, repeated_records
from tests.paths import ROOT

pytestmark = pytest.mark.mosquitto


def test_a_step_runs_alone_and_gives_its_figures_as_json() -> None:
    command = [sys.executable, "-m", "tests.bench", "--only", "return", "--short", "--json"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stderr.strip() == "0:00 run 1 of 1, step 1 of 1: return"
    figures = json.loads(run.stdout)
    [complete] = [figure for name, figure in figures.items() if "has everything" in name]
    assert complete["unit"] == "s"
    assert complete["aim"] == "<= 5"
    assert len(complete["runs"]) == 1
    assert 0 < complete["median"] < 60
    [twice] = [figure for name, figure in figures.items() if "twice" in name]
    assert twice["unit"] == "records"


def test_the_naive_script_stores_what_its_devices_offer(tmp_path: Path) -> None:
    load = Load(registers=10, units=3, period_ms=100, warm_up_s=0)
    with broker_of(tmp_path) as broker, modbus_servers(1, 10, on_second_core=False) as ports:
        run = naive_run(load, ports * 2, broker.port, 0.1)
    offered = 10 * 3 * 2 / 0.1
    assert run.per_s == pytest.approx(offered, rel=0.3)
    assert 0 < run.cpu_s < 1e6 / offered * 2


def test_records_are_counted_each_time_they_come_again() -> None:
    batches = [Seen(1, 10, b""), Seen(11, 20, b""), Seen(11, 20, b""), Seen(15, 25, b"")]
    assert repeated_records(batches) == 10 + 6
    assert repeated_records([]) == 0
