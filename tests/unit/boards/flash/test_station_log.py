"""The station log: what was changed is noticed, a power cut in a line is not taken for that."""

import hashlib
import json
from pathlib import Path

import pytest

from boards.flash.station_log import StationLogError, append, entries


def test_each_line_has_the_hash_of_the_one_before(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    assert entries(log) == []
    for number in range(3):
        append(log, {"number": number})
    lines = log.read_bytes().splitlines()
    assert [json.loads(line)["number"] for line in lines] == [0, 1, 2]
    before = [b"0" * 64] + [hashlib.sha256(line).hexdigest().encode() for line in lines]
    assert [json.loads(line)["prev"].encode() for line in lines] == before[:3]
    assert [each["number"] for each in entries(log)] == [0, 1, 2]


@pytest.mark.parametrize("how", ["changed", "removed", "garbled"])
def test_a_line_that_was_changed_is_noticed_and_nothing_is_added(tmp_path: Path, how: str) -> None:
    log = tmp_path / "log.jsonl"
    for number in range(3):
        append(log, {"number": number})
    lines = log.read_bytes().splitlines(keepends=True)
    lines[1] = {
        "changed": lines[1].replace(b'"number": 1', b'"number": 7'),
        "removed": b"",
        "garbled": b"?" + lines[1],
    }[how]
    log.write_bytes(b"".join(lines))
    before = log.read_bytes()
    with pytest.raises(StationLogError, match="a line was changed or removed"):
        append(log, {"number": 3})
    assert log.read_bytes() == before


@pytest.mark.parametrize("cut", [1, 20, 90])
def test_a_line_that_a_power_cut_left_is_passed_over(tmp_path: Path, cut: int) -> None:
    log = tmp_path / "log.jsonl"
    append(log, {"number": 0})
    first = len(log.read_bytes())
    append(log, {"number": 1})
    log.write_bytes(log.read_bytes()[: first + cut])
    append(log, {"number": 2})
    append(log, {"number": 3})
    assert [each["number"] for each in entries(log)] == [0, 2, 3]
