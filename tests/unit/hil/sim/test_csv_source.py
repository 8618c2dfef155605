"""Values for the parts from a script or a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from hil.sim.csv_source import Script, read_csv


def test_rows_hold_until_the_next_and_columns_keep_their_value(tmp_path: Path) -> None:
    now = [100.0]
    path = tmp_path / "day.csv"
    path.write_text("time_s,air.pm2_5,water.ph\n1,50,7.9\n2,NA,\n3,70,6.5\n")
    source = read_csv(path, clock=lambda: now[0])
    assert (source.air().pm2_5, source.water().ph) == (18, 7.4)
    seen = []
    for second in (1, 2, 3, 99):
        now[0] = 100.0 + second
        seen.append((source.air().pm2_5, source.water().ph, source.air().co2))
    assert seen == [(50, 7.9, 608), (None, 7.9, 608), (70, 6.5, 608), (70, 6.5, 608)]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", ":1: expected time_s"),
        ("time_s,air.pm25\n", ":1: expected time_s and columns of"),
        ("time_s,air.co2\n1,2\n1,3\n", ":3: time: expected more than 1 s, got 1"),
        ("time_s,air.co2\n1\n", ":2: expected 2 fields, got 1"),
        ("time_s,air.co2\n1,x\n", ":2: air.co2: expected a number or NA, got 'x'"),
        ("time_s,air.co2\n1,inf\n", ":2: air.co2: expected a number or NA"),
        ("time_s,air.co2\n,4\n", ":2: time_s: expected seconds"),
        ("time_s,water.ph\n1,NA\n", ":2: water.ph: expected a number, got none"),
    ],
)
def test_a_wrong_file_says_where(tmp_path: Path, text: str, match: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"bad.csv{match}"):
        read_csv(path)


def test_a_script_refuses_an_unknown_column() -> None:
    with pytest.raises(ValueError, match=r"unknown column 'ph'; known are air.pm2_5"):
        Script([(0, {"ph": 7})])
