"""`tianfu-node label` and `log`: only proven boards, and nothing is cut off unnoticed."""

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from boards.cli import app
from boards.flash import station_log
from boards.label import LabelIdentity

UID = "0123456789abcdef01234567"
OTHER = "ff" * 12
PROOF: dict[str, object] = {
    "board": "madeup405",
    "role": "air",
    "unit": 7,
    "image": "5e" * 32,
    "key_id": 3,
    "sample": "1/4",
    "sample_after_power_cycle": "2/1",
}


def add(log: Path, event: str, fields: Mapping[str, object], uid: str = UID) -> str:
    head = {"event": event, "uid": uid, "who": "=cmd|x", "lane": "1-2", "seconds": 41.5}
    return station_log.append(log, {**head, **fields})


def run(*arguments: object, scans: str = "") -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments], input=scans)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """One proven board, one that failed after its proof, one that proved itself once."""
    path = tmp_path / "station.jsonl"
    add(path, "begun", {})
    add(path, "proven", PROOF)
    add(path, "labelled", {})
    add(path, "proven", PROOF, OTHER)
    add(path, "begun", {}, OTHER)
    add(path, "proven", PROOF | {"sample_after_power_cycle": None}, "ee" * 12)
    return path


@pytest.mark.parametrize("name", ["labels.pdf", "labels.zpl", "label.png"])
def test_labels_are_made_of_proven_boards_alone(log: Path, tmp_path: Path, name: str) -> None:
    done = run("label", "--log", log, "--out", tmp_path / name)
    assert done.exit_code == 0, done.output
    assert "1 labels" in done.output
    content = (tmp_path / name).read_bytes()
    if name == "labels.zpl":
        assert content.count(b"^XA") == 1
        assert UID.encode() in content


@pytest.mark.parametrize("uid", [OTHER, "ee" * 12, "dd" * 12])
def test_a_board_without_both_proofs_gets_none(log: Path, tmp_path: Path, uid: str) -> None:
    done = run("label", "--log", log, "--uid", uid, "--out", tmp_path / "labels.pdf")
    assert done.exit_code == 1
    assert "proved itself twice" in done.output
    assert not (tmp_path / "labels.pdf").exists()


def test_a_scan_is_compared_with_the_log(log: Path) -> None:
    good = LabelIdentity("madeup405", UID).text
    done = run("label", "--log", log, "--check", scans=f"{good}\n\n{good.upper()}\n")
    assert done.exit_code == 0, done.output
    assert done.output.count("ok: air 7") == 2
    for wrong, why in [
        (LabelIdentity("madeup405", OTHER).text, "none with this serial"),
        (LabelIdentity("made_up_2", UID).text, "expected a label of madeup405"),
        (good[:-1] + ("A" if good[-1] != "A" else "B"), "check characters"),
        ("4006381333931", "expected TF1|class|serial|check"),
    ]:
        done = run("label", "--log", log, "--check", scans=f"{wrong}\n{good}\n")
        assert done.exit_code == 1
        assert why in done.output
        assert "ok: air 7" in done.output  # the next scan is read all the same


def test_the_log_is_exported_whole(log: Path) -> None:
    table = list(csv.DictReader(io.StringIO(run("log", "--log", log, "--csv").output)))
    document = json.loads(run("log", "--log", log, "--json").output)
    assert [row["event"] for row in table] == [line["event"] for line in document["lines"]]
    assert len(table) == 6
    assert {row["lane"] for row in table} == {"1-2"}
    assert {row["seconds"] for row in table} == {"41.5"}
    assert {row["who"] for row in table} == {"'=cmd|x"}  # no formula for a spreadsheet
    assert document["head"] == station_log.chain(log).head


def test_lines_that_were_cut_off_are_noticed_by_the_head(log: Path) -> None:
    head = add(log, "failed", {})
    add(log, "begun", {})
    assert run("log", "--log", log, "--verify", "--head", head[:16]).exit_code == 0
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:-2]))
    assert run("log", "--log", log, "--verify").exit_code == 0  # the file alone cannot show it
    done = run("log", "--log", log, "--verify", "--head", head)
    assert done.exit_code == 1
    assert "cut off" in done.output


def test_a_line_that_was_cut_in_the_middle_is_named(log: Path) -> None:
    log.write_bytes(log.read_bytes()[:-9])
    done = run("log", "--log", log, "--verify")
    assert done.exit_code == 1
    assert "line 6 was cut off" in done.output


def test_a_changed_line_is_refused(log: Path) -> None:
    log.write_bytes(log.read_bytes().replace(b'"unit": 7', b'"unit": 8', 1))
    for command in (["log"], ["label"]):
        done = run(*command, "--log", log)
        assert done.exit_code == 1
        assert "changed or removed" in done.output
