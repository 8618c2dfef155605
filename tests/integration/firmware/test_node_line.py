"""``tianfu-node show``, ``set`` and ``calibrate`` against a real node process on a pty."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from boards.cli import app
from tests.integration.firmware.node_process import KEY, UID, Cable, NodeProcess

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def cable() -> Iterator[Cable]:
    cable = Cable()
    yield cable
    cable.close()


@pytest.fixture
def node(tmp_path: Path, cable: Cable) -> Iterator[NodeProcess]:
    with NodeProcess(tmp_path, cable.node_end, "water") as node:
        node.start()
        yield node


def key_file(tmp_path: Path, key: bytes = KEY, key_id: int = 5) -> Path:
    path = tmp_path / "key.json"
    path.touch(0o600)
    path.write_text(json.dumps({"key_id": key_id, "key": key.hex()}))
    return path


def run(command: str, cable: Cable, *arguments: object) -> tuple[int, str]:
    words = [command, cable.master_end, *map(str, arguments), "--baud", "115200"]
    result = CliRunner().invoke(app, words)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def shown(cable: Cable) -> dict[str, object]:
    status, text = run("show", cable, "--json")
    assert status == 0, text
    found = json.loads(text)
    assert isinstance(found, dict)
    return found


def test_settings_are_written_signed_and_read_back(
    node: NodeProcess, cable: Cable, tmp_path: Path
) -> None:
    key = key_file(tmp_path)
    before = shown(cable)
    assert before["uid"] == UID.hex()
    assert (before["role"], before["key_id"], before["signed_writes"]) == ("water", 5, True)
    wanted = ("sample_period_ds=3", "ph_raw_1=30000", "ph_value_1=701", "ph_raw_2=40000")
    status, text = run("set", cable, *wanted, "ph_value_2=401", "ntu_raw_1=50000", "--key", key)
    assert status == 0, text
    assert "ph_raw_1: 29789 -> 30000" in text
    after = shown(cable)
    expected = before["settings"]
    assert isinstance(expected, dict)
    changed = {"sample_period_ds": 3, "ph_raw_1": 30000, "ph_value_1": 701, "ph_raw_2": 40000}
    assert after["settings"] == expected | changed | {"ph_value_2": 401, "ntu_raw_1": 50000}
    assert after["writes_refused"] == 0
    assert run("set", cable, *wanted, "--key", key) == (0, "nothing to change\n")


def test_the_address_comes_into_force_with_the_restart(
    node: NodeProcess, cable: Cable, tmp_path: Path
) -> None:
    status, text = run("set", cable, "unit_id=9", "--restart", "--key", key_file(tmp_path))
    assert status == 0, text
    assert node.line_with("role")["boot_epoch"] == 2
    assert run("show", cable, "--unit", "9")[0] == 0
    assert run("set", cable, "unit_id=8", "--unit", "9", "--key", key_file(tmp_path))[0] == 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "expected the node's key, for it takes signed writes only: name it with --key FILE"),
        (("wrong-key",), f"the node with unique id {UID.hex()} has another key"),
        (("wrong-id",), "got one that signs with key 5"),
        (("--unit", "7"), "address 7: expected an answer within 1 s, got nothing"),
    ],
)
def test_what_keeps_a_write_out_is_named_and_changes_nothing(
    arguments: tuple[str, ...],
    expected: str,
    node: NodeProcess,
    cable: Cable,
    tmp_path: Path,
) -> None:
    if arguments == ("wrong-key",):
        arguments = ("--key", str(key_file(tmp_path, bytes(32))))
    elif arguments == ("wrong-id",):
        arguments = ("--key", str(key_file(tmp_path, key_id=6)))
    status, text = run("set", cable, "sample_period_ds=5", *arguments)
    assert status == 1
    assert expected in text
    settings = shown(cable)["settings"]
    assert isinstance(settings, dict)
    assert settings["sample_period_ds"] == 2


def test_wrong_settings_are_named_before_anything_is_sent(cable: Cable) -> None:
    for word, expected in (
        ("colour=3", "colour: expected a setting: unit_id, "),
        ("unit_id=0", "unit_id: expected 1 to 247, got 0"),
        ("unit_id", "unit_id: expected NAME=NUMBER"),
    ):
        status, text = run("set", cable, word)
        assert status == 1
        assert expected in text
    missing = CliRunner().invoke(app, ["show", "/dev/none"])
    assert missing.exit_code == 1
    assert "/dev/none: expected a serial port that can be opened" in missing.output


def test_a_node_without_a_key_is_set_without_one(tmp_path: Path, cable: Cable) -> None:
    with NodeProcess(tmp_path, cable.node_end, "air") as node:
        (node.store / "node.key").unlink()
        node.start()
        found = shown(cable)
        assert (found["key_id"], found["signed_writes"]) == (None, False)
        assert run("set", cable, "sample_period_ds=7") == (0, "sample_period_ds: 2 -> 7\n")


def test_a_point_that_has_no_probe_is_not_calibrated(
    node: NodeProcess, cable: Cable, tmp_path: Path
) -> None:
    key = key_file(tmp_path)
    for words, expected in (
        (("co2", 1, 400), "expected a point of this water node that is calibrated: ph, turb"),
        (("ph", 1, 15), "ph_value_1: expected 0 to 1400, got 1500"),
        (("ph", 1, 7), "ph: expected readings of the converter, got none: is it fitted?"),
    ):
        status, text = run("calibrate", cable, *words, "--key", key)
        assert status == 1, text
        assert expected in text
