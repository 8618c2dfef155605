"""What ``tianfu-gateway query`` shows of a collector's database, in each form, gaps included."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway_agent.cli import app
from gateway_agent.collector.query import moment
from gateway_agent.collector.receiver import ACCEPTED
from protocols.uplink import Gap, gap_record

from .test_collector import WALL_MS, Chain, Collector, readings, stamp


@pytest.fixture
def database(tmp_path: Path) -> str:
    """Readings 1 to 3 of gw-1.co2 (co2 2, 4, 6), a gap of two polls, and reading 6."""
    collector = Collector(tmp_path)
    gap = Gap("bus_timeout", None, None, None, "silent", 2, 13_000, 14_000)
    hole = gap_record("gw-1.co2", gap, stamp(5))
    collector.take(Chain().batch([*readings(1, 3), hole, *readings(6, 6)]), ACCEPTED)
    collector.database.close()
    return str(collector.path)


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["query", *arguments])
    return done.exit_code, done.output


def at(number: int) -> str:
    """The time of reading ``number`` as a person writes it."""
    when = datetime.fromtimestamp((WALL_MS + 10_000 + 1000 * number) / 1000, UTC)
    return when.isoformat()


def test_json_has_readings_and_gaps_of_the_span(database: str) -> None:
    status, text = run(database, "co2", "co2", "--from", at(2), "--to", at(7), "--format", "json")
    found = json.loads(text)
    assert status == 0
    assert [(r["point"], r["value"], r["unit"], r["auth"]) for r in found["readings"]] == [
        ("co2", 4, "ppm", "none"),
        ("co2", 6, "ppm", "none"),
        ("co2", 12, "ppm", "none"),
    ]
    assert [(g["cause"], g["slots"]) for g in found["gaps"]] == [("bus_timeout", 2)]


def test_csv_has_a_row_for_each_reading_and_gap(database: str) -> None:
    _, text = run(database, "gw-1.co2", "--from", at(0), "--to", at(9), "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["point"], row["value"]) for row in rows[:2]] == [
        ("co2", "2"),
        ("temperature", "0.1"),
    ]
    assert rows[0]["time"].startswith(at(1)[:19])
    assert len(rows) == 4 * 2 + 1
    assert [row["gap"] for row in rows if row["gap"]] == ["bus_timeout"]


def test_senml_is_what_rfc_8428_reads(database: str) -> None:
    _, text = run(database, "co2", "co2", "--from", at(1), "--to", at(2), "--format", "senml")
    assert json.loads(text) == [
        {"n": "gw-1.co2:co2", "u": "ppm", "v": 2, "t": (WALL_MS + 11_000) / 1000}
    ]


def test_the_table_names_the_gap_in_its_place(database: str) -> None:
    _, text = run(database, "co2", "co2", "--from", at(1), "--to", at(9))
    lines = [line for line in text.splitlines() if "co2" in line or "gap" in line]
    assert "gap: bus_timeout" in lines[3]
    assert "12" in lines[4]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["co3"], "one device was expected (gw-1.co2), got 'co3'"),
        (["co2", "--from", "Monday"], "a time as 2026-11-28T08:00, 2h (ago)"),
    ],
)
def test_what_cannot_be_is_named(database: str, arguments: list[str], expected: str) -> None:
    status, text = run(database, *arguments)
    assert status == 1
    assert expected in " ".join(text.split())


def test_no_database_is_named(tmp_path: Path) -> None:
    status, text = run(str(tmp_path / "none.db"), "co2")
    assert status == 1
    assert "is it a collector's database?" in " ".join(text.split())


def test_times_as_people_write_them() -> None:
    now = datetime(2026, 11, 28, 8, 30, tzinfo=UTC)
    assert moment("2h", now) == now - timedelta(hours=2)
    assert moment("2026-11-28T08:00+08:00", now) == datetime(2026, 11, 28, 0, 0, tzinfo=UTC)
    local = now.astimezone()
    assert moment("today", now) == local.replace(hour=0, minute=0, second=0, microsecond=0)
    assert moment("yesterday", now) == moment("today", now) - timedelta(days=1)
