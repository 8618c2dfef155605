"""The Robot suites: valid for Robot Framework against a stub of Renode's keywords, and mapped."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import pytest
from robot import running

import hil.robot
from boards.recordstore import contents
from hil.engines import wiring
from hil.renode import commands
from hil.renode.fake import Fake
from hil.robot.TianfuNode import STORE_ADDRESS, TianfuNode, find_image
from protocols.wire.crc import crc16

ROBOT = Path(hil.robot.__file__).parent
SUITES = sorted(ROBOT.glob("*.robot"))
STUB = ROBOT / "stub/keywords.resource"


def cases(suite: Path) -> list[str]:
    body = suite.read_text(encoding="utf-8").split("*** Test Cases ***\n")[1]
    body = body.partition("\n*** ")[0]
    return [line for line in body.splitlines() if line and not line.startswith((" ", "*"))]


class Case(Protocol):
    name: str


class Result(Protocol):
    return_code: int


class Suite(Protocol):
    """What this uses of Robot Framework's suite, which has no types."""

    tests: list[Case]
    suites: list[Suite]
    test_count: int

    def configure(self, **options: object) -> None: ...

    def run(self, **options: object) -> Result: ...


def names_in(suite: Suite) -> list[str]:
    below = [name for child in suite.suites for name in names_in(child)]
    return [case.name for case in suite.tests] + below


def selected_by_renode_test(path: Path) -> Suite:
    """The suite that renode-test 1.16.1 makes of ``path`` (its tests/robot_tests_provider.py)."""
    suite: Suite = running.TestSuiteBuilder().build(path)
    chosen = [f"{path.stem}.{name}" for name in names_in(suite)]
    suite.configure(include_tests=chosen, name=path.stem, empty_suite_ok=True)
    return suite


@pytest.mark.parametrize("path", [ROBOT, *SUITES], ids=lambda path: path.name)
def test_renode_test_selects_every_case(path: Path) -> None:
    """Of a file, and of the folder: `renode-test hil/robot`."""
    assert str(path).endswith("robot"), "renode-test passes over anything else"
    suite = selected_by_renode_test(path)
    files = SUITES if path == ROBOT else [path]
    assert suite.test_count == sum(len(cases(file)) for file in files)
    stub = [f"RENODEKEYWORDS:{STUB}"]
    done = suite.run(dryrun=True, output=None, console="none", variable=stub)
    assert done.return_code == 0


def test_every_case_has_its_twin_in_the_table() -> None:
    table = (ROBOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\w+\.robot) \| ([^|]+) \| `(\S+)::(\S+)` \|$", table, re.MULTILINE)
    listed = {(suite, name) for suite, name, _file, _twin in rows}
    wanted = {(suite.name, case) for suite in SUITES for case in cases(suite)}
    assert listed == wanted - {("all.robot", "?*")}  # which tests no node
    for _suite, name, file, twin in rows:
        text = (ROBOT.parents[1] / file).read_text(encoding="utf-8")
        assert f"def {twin}(" in text, f"{name}: no {twin} in {file}"


def test_a_stand_in_for_renode_takes_the_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that make a node, with an image whose path has a blank."""
    elf = tmp_path / "the image.elf"
    elf.touch()
    monkeypatch.setenv("TIANFU_ELF", str(elf))
    find_image.cache_clear()
    made = TianfuNode().commands_for_node("n1", "water")
    find_image.cache_clear()
    renode = Fake()
    for command in made:
        done = renode.run_keyword("ExecuteCommand", [command])
        assert done["status"] == "PASS", (command, done)
    machine = renode.machines["n1"]
    assert machine.loaded
    assert STORE_ADDRESS == wiring.STORE_ADDRESS
    store = STORE_ADDRESS - commands.FLASH_BASE
    records = contents(bytes(machine.flash[store : store + wiring.STORE_BYTES]))
    assert json.loads(records["board"])["role"] == "water"


def test_the_library_needs_nothing_but_python() -> None:
    """renode-test runs in a Python of its own, which has none of what this project installs."""
    code = "import TianfuNode as t; print(*t.TianfuNode().identification_request('1'))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=ROBOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split()[:2] == ["0x01", "0x2B"], done.stderr


@pytest.mark.parametrize(
    "line",
    [
        "Wait For Line On Uart    ready    testerID=0",
        "Wait For Prompt On Uart",
        "Send Key To Uart    0x03    0    0",
        "Send Key    0x03",
    ],
)
def test_the_stub_refuses_what_renode_refuses(line: str) -> None:
    text = f"*** Settings ***\nResource    {STUB}\n*** Test Cases ***\nCase\n    {line}\n"
    suite: Suite = running.TestSuite.from_string(text)
    assert suite.run(dryrun=True, output=None, console="none").return_code == 1


def test_frames_have_the_checksum_of_the_firmware() -> None:
    for frame in (
        TianfuNode().read_request("1", "4", "0", "28"),
        TianfuNode().identification_request("1"),
    ):
        raw = bytes(int(byte, 0) for byte in frame)
        assert crc16(raw[:-2]) == int.from_bytes(raw[-2:], "little")
