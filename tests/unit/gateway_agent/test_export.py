"""Files of readings: what is in them is what the view has, and memory does not grow with them."""

import csv
import io
import json
import resource
import signal
import sqlite3
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from gateway_agent.cli import app
from gateway_agent.collector.readings import ReadingsReader
from gateway_agent.collector.receiver import ACCEPTED
from protocols.uplink import Gap, ProfileTemplate, gap_record
from tests.paths import ROOT

from .test_collector import NO_CLOCK, Chain, Collector, readings, stamp

RUNNER = CliRunner()
VIEW = (
    "SELECT time_ms, device, name, value, unit, unc_ms, auth, stream, seq FROM measurements"
    " WHERE time_ms IS NOT NULL ORDER BY device, time_ms, seq, name"
)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """40 dated readings, a gap, and 3 undated records of a boot that no clock has vouched for."""
    collector, chain = Collector(tmp_path_factory.mktemp("export")), Chain()
    collector.take(chain.batch(readings(1, 20)), ACCEPTED)
    gap = Gap("bus_timeout", None, None, None, "silent", 2, 13_000, 14_000)
    collector.take(chain.batch([gap_record("gw-1.co2", gap, stamp(21))]), ACCEPTED)
    other = replace(NO_CLOCK, boot_id=b"u" * 16)
    collector.take(Chain(2).batch(readings(30, 32, clock=False), other), ACCEPTED)
    yield collector.path
    collector.database.close()


def run(*words: object) -> tuple[int, str]:
    done = RUNNER.invoke(app, ["export", *map(str, words)])
    return done.exit_code, done.output


def of_view(database: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(VIEW).fetchall()


def test_csv_has_every_dated_reading_as_the_view_has_it(database: Path, tmp_path: Path) -> None:
    out = tmp_path / "all.csv"
    status, text = run(database, "--out", out)
    assert status == 0
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    found = [
        (row["device"], row["point"], row["value"], row["unit"], row["stream"], row["seq"])
        for row in rows
        if not row["gap"]
    ]
    expected = of_view(database)
    assert found == [(r[1], r[2], str(r[3]), r[4], str(r[7]), str(r[8])) for r in expected]
    assert [(row["device"], row["gap"]) for row in rows if row["gap"]] == [
        ("gw-1.co2", "bus_timeout")
    ]
    assert out.stat().st_mode & 0o777 == 0o600
    assert "3 records have no time" in text
    assert "3 records with readings have no time yet, among records 1 to 3 of stream 2" in text


def test_undated_readings_are_written_where_they_are_asked_for(
    database: Path, tmp_path: Path
) -> None:
    out = tmp_path / "all.csv"
    assert run(database, "--out", out, "--undated", "--json")[0] == 0
    rows = [row for row in csv.DictReader(io.StringIO(out.read_text())) if not row["gap"]]
    without = [row for row in rows if not row["time"]]
    assert len(rows) == len(of_view(database)) + len(without)
    assert sorted({row["seq"] for row in without}) == ["1", "2", "3"]


def test_query_counts_and_names_what_has_no_time(database: Path) -> None:
    done = RUNNER.invoke(app, ["query", str(database), "co2", "--from", "1970-01-02"])
    assert "3 records with readings have no time yet" in done.stderr
    done = RUNNER.invoke(
        app, ["query", str(database), "co2", "--from", "1970-01-02", "--format", "json"]
    )
    assert json.loads(done.stdout)["undated"] == [
        {"stream": 2, "first": 1, "last": 3, "records": 3}
    ]


def test_senml_and_parquet_have_the_same_numbers(database: Path, tmp_path: Path) -> None:
    expected = of_view(database)
    senml = tmp_path / "all.senml"
    assert run(database, "--out", senml)[0] == 0
    pack = json.loads(senml.read_bytes())
    assert [(e["n"], e["v"], round(e["t"] * 1000)) for e in pack] == [
        (f"{r[1]}:{r[2]}", r[3], r[0]) for r in expected
    ]
    file = tmp_path / "all.parquet"
    assert run(database, "--out", file)[0] == 0
    table = parquet.read_table(file).to_pylist()
    assert [(r["device"], r["point"], r["value"], r["seq"]) for r in table if not r["gap"]] == [
        (r[1], r[2], float(str(r[3])), r[8]) for r in expected
    ]
    assert [r["gap"] for r in table if r["gap"]] == ["bus_timeout"]


def test_a_counter_beyond_53_bits_is_not_rounded(tmp_path: Path) -> None:
    collector = Collector(tmp_path)
    template = ProfileTemplate("gw-1.meter", [("wh", "Wh", 0), ("v", "V", -1)])
    record = template.record(((1 << 53) + 1, 2301), stamp(1))
    collector.take(Chain().batch([record]), ACCEPTED)
    out = tmp_path / "m.parquet"
    assert run(collector.path, "--out", out)[0] == 0
    rows = {row["point"]: row for row in parquet.read_table(out).to_pylist()}
    assert rows["wh"]["whole"] == (1 << 53) + 1
    assert (rows["v"]["whole"], rows["v"]["value"]) == (None, 230.1)
    collector.database.close()


def test_one_device_one_point_one_span(database: Path, tmp_path: Path) -> None:
    out = tmp_path / "some.csv"
    times = [row[0] for row in of_view(database) if row[2] == "co2"]
    begin, end = "1970-01-01T00:00:00+00:00", "2100-01-01T00:00:00+00:00"
    assert run(database, "-o", out, "--device", "co2", "--point", "co2", "--from", begin,
               "--to", end)[0] == 0  # fmt: skip
    rows = [row for row in csv.DictReader(io.StringIO(out.read_text())) if not row["gap"]]
    assert len(rows) == len(times)
    assert {row["point"] for row in rows} == {"co2"}


def test_what_cannot_be_finished_leaves_the_old_file(database: Path, tmp_path: Path) -> None:
    out = tmp_path / "old.csv"
    out.write_text("old")
    child = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        " resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500));"
        " from gateway_agent.__main__ import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", child, "export", database, "--out", out],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "nothing was written there" in done.stderr
    assert out.read_text() == "old"
    assert list(tmp_path.iterdir()) == [out]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 500


def test_an_unknown_form_or_a_file_that_is_no_database(tmp_path: Path) -> None:
    status, text = run(tmp_path / "x.db", "--out", tmp_path / "x.xlsx")
    assert status == 2
    assert ".parquet" in text
    (tmp_path / "x.db").write_bytes(b"no database at all" * 100)
    status, text = run(tmp_path / "x.db", "--out", tmp_path / "x.csv")
    assert status not in (0, 2)
    assert "is it a collector's database?" in text


def test_memory_does_not_grow_with_the_span(tmp_path: Path) -> None:
    collector, chain = Collector(tmp_path), Chain()
    for first in range(1, 8001, 1000):
        collector.take(chain.batch(readings(first, first + 999)), ACCEPTED)
    with closing(sqlite3.connect(collector.path)) as connection:
        reader = ReadingsReader(connection)
        next(iter(reader.dated("gw-1.co2", "", 0, 1 << 60)))
        tracemalloc.start()
        count = sum(1 for _ in reader.dated("gw-1.co2", "", 0, 1 << 60))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        plan = connection.execute(
            "EXPLAIN QUERY PLAN SELECT seq FROM records INDEXED BY records_of_device"
            " WHERE device = 'x' AND time_ms >= 1 ORDER BY time_ms"
        ).fetchall()
    assert count == 16_000
    assert peak < 200_000
    assert not [row for row in plan if "TEMP B-TREE" in str(row)]
    collector.database.close()


@pytest.mark.parametrize("where", ["os.fsync", "pathlib.Path.replace"])
def test_a_kill_leaves_the_file_of_before(database: Path, tmp_path: Path, where: str) -> None:
    """Killed when all is written, before and after the sync: the next run makes the whole file."""
    out = tmp_path / "all.csv"
    out.write_text("of yesterday\n")
    owner, _, name = where.rpartition(".")
    code = (
        "import os, pathlib, sys, threading\n"
        f"def stay(*_): print('there', flush=True); threading.Event().wait()\n"
        f"setattr({owner}, {name!r}, stay)\n"
        "from gateway_agent.cli import app; app()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, "export", str(database), "--out", str(out)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"there\n"
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert out.read_text() == "of yesterday\n"
    assert run(database, "--out", out)[0] == 0
    assert out.read_text().count("\n") == 1 + len(of_view(database)) + 1  # the head, and a gap
    assert list(tmp_path.iterdir()) == [out]
