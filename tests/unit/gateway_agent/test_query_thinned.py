"""What retention has left of readings is shown in their place, and cannot be taken for one."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from gateway_agent.cli import app
from gateway_agent.collector.receiver import ACCEPTED

from .test_collector import WALL_MS, Chain, readings
from .test_retention import RECORDS, Kept, four_minutes

EVER: Final = ("--from", "1970-01-02", "--to", "2100-01-01")
RAW: Final = (400, 401)  # readings that came after the others were thinned


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    made = four_minutes(tmp_path)
    yield made
    made.collector.database.close()


@pytest.fixture
def database(kept: Kept) -> str:
    """Four minutes of gw-1.co2 as minutes (reading n has 2 n of co2), then two readings."""
    kept.later(3)
    kept.retain()
    kept.collector.take(Chain(2).batch(readings(*RAW)), ACCEPTED)
    return str(kept.collector.path)


def time_ms(number: int) -> int:
    return WALL_MS + 10_000 + 1000 * number


def by_hand(width_ms: int) -> list[tuple[int, int, int, int]]:
    """Begin of each minute or hour, and how many values of co2 it had, least and most."""
    found: dict[int, list[int]] = {}
    for number in range(1, RECORDS + 1):
        found.setdefault(time_ms(number) // width_ms * width_ms, []).append(2 * number)
    return [(begin, len(of), of[0], of[-1]) for begin, of in sorted(found.items())]


MINUTES: Final = by_hand(60_000)


def run(*words: str) -> str:
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    return done.stdout


def moment(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat()


def test_json_has_them_in_a_list_of_their_own(database: str) -> None:
    found = json.loads(run("query", database, "co2", "co2", *EVER, "--format", "json"))
    assert [(r["time_ms"], r["value"]) for r in found["readings"]] == [
        (time_ms(number), 2 * number) for number in RAW
    ]
    assert [
        (row["time_ms"], row["readings"], row["least"], row["most"], row["width_s"], row["unit"])
        for row in found["thinned"]
    ] == [(*row, 60, "ppm") for row in MINUTES]
    # The values of a minute rise evenly: their mean is the middle of the least and the most.
    assert [row["mean"] for row in found["thinned"]] == pytest.approx(
        [(least + most) / 2 for _, _, least, most in MINUTES]
    )


def test_csv_and_parquet_have_them_in_columns_of_their_own(database: str, tmp_path: Path) -> None:
    expected = [(str(count), float(least), float(most)) for _, count, least, most in MINUTES]
    out = tmp_path / "out.csv"
    text = run("export", database, "--out", str(out), "--device", "co2", "--point", "co2", *EVER)
    assert f"{len(MINUTES)} thinned values (of a minute or an hour), 2 readings" in text
    for content in (
        run("query", database, "co2", "co2", *EVER, "--format", "csv"),
        out.read_text(),
    ):
        rows = list(csv.DictReader(io.StringIO(content)))
        thinned = [row for row in rows if row["width_s"]]
        assert [(r["readings"], float(r["least"]), float(r["most"])) for r in thinned] == expected
        assert {(r["value"], r["auth"], r["seq"], r["gap"]) for r in thinned} == {("",) * 4}
        of_readings = [row for row in rows if row["value"]]
        assert [row["value"] for row in of_readings] == [str(2 * number) for number in RAW]
        assert {row["mean"] for row in of_readings} == {""}
    file = tmp_path / "out.parquet"
    run("export", database, "--out", str(file), "--device", "co2", "--point", "co2", *EVER)
    table = parquet.read_table(file).to_pylist()
    assert [
        (str(r["readings"]), r["least"], r["most"]) for r in table if r["width_s"] == 60
    ] == expected
    assert [r["value"] for r in table if r["value"] is not None] == [2 * n for n in RAW]


def test_senml_has_them_under_names_of_their_own(database: str) -> None:
    pack = json.loads(run("query", database, "co2", "co2", *EVER, "--format", "senml"))
    assert [entry["v"] for entry in pack if entry["n"] == "gw-1.co2:co2"] == [800, 802]
    for what, place in (("readings", 1), ("least", 2), ("most", 3)):
        found = [(e["t"], e["v"]) for e in pack if e["n"] == f"gw-1.co2:co2:{what}:60s"]
        assert found == [(row[0] / 1000, row[place]) for row in MINUTES]


def test_the_table_marks_them(database: str) -> None:
    lines = run("query", database, "co2", "co2", *EVER).splitlines()
    _, count, least, most = MINUTES[1]
    (line,) = [line for line in lines if f"({least} to {most})" in line]
    assert f"mean {(least + most) / 2:g} " in line
    assert f"ppm of {count} readings in 60 s" in line
    assert lines.index(line) < next(n for n, line in enumerate(lines) if " 800 " in line)


def test_a_minute_that_reaches_into_the_span_is_in_it(database: str) -> None:
    begin, end = MINUTES[1][0] + 30_000, MINUTES[2][0]
    words = ("--from", moment(begin), "--to", moment(end), "--format", "json")
    found = json.loads(run("query", database, "co2", "co2", *words))
    assert [row["time_ms"] for row in found["thinned"]] == [MINUTES[1][0]]
    words = ("--from", moment(end), "--to", moment(end + 1), "--format", "json")
    found = json.loads(run("query", database, "co2", "co2", *words))
    assert [row["time_ms"] for row in found["thinned"]] == [MINUTES[2][0]]


def test_hours_are_named_as_hours(kept: Kept) -> None:
    kept.later(30)
    kept.retain(1, 10)
    words = ("query", str(kept.collector.path), "co2", "co2", *EVER, "--format", "json")
    found = json.loads(run(*words))["thinned"]
    assert [
        (row["time_ms"], row["readings"], row["least"], row["most"]) for row in found
    ] == by_hand(3_600_000)
    assert {row["width_s"] for row in found} == {3600}
