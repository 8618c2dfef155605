"""CONTRIBUTING's list "A sensor" leads to the end: a made-up sensor is added to a copy of the tree.

Its driver runs on both runtimes, its point is documented and within the size budgets, and a node
that is started on the simulated part shows its value over Modbus.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT
from tests.runtime import made_up_sensor as made_up

COPIED = ("boards", "firmware", "gateway_agent", "hil", "protocols", "tests", "docs")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the project in which every step of the list was taken."""
    copy = tmp_path_factory.mktemp("tree")
    for folder in COPIED:
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    for name, change in made_up.STEPS.items():
        path = copy / name
        if isinstance(change, str):
            assert not path.exists(), f"{name} is new"
            path.write_text(change, encoding="utf-8")
            continue
        text = path.read_text(encoding="utf-8")
        for old, new in change:
            assert text.count(old) == 1, f"{name}: expected {old!r} once"
            text = text.replace(old, new)
        path.write_text(text, encoding="utf-8")
    for command in made_up.GENERATED.values():
        done = run(copy, "-m", *command.split())
        assert done.returncode == 0, done.stdout + done.stderr
    return copy


def run(tree: Path, *arguments: str, program: str = "python") -> subprocess.CompletedProcess[str]:
    """Run this environment's Python, or MicroPython, in the tree and on the tree's packages."""
    return subprocess.run(
        [str(Path(sys.executable).parent / program), *arguments],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": f"{tree}:{tree}/protocols/host"},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def test_the_list_names_the_files_that_are_touched() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text[text.index("### A sensor") + 1 :].partition("\n### ")[0]
    named: list[str] = []
    for item in re.findall(r"^\d+\. (.*?)(?=^\d+\. |\Z)", section, re.MULTILINE | re.DOTALL):
        head = item.partition(":")[0]
        named += re.findall(r"`([^`]+)`", head)
    filled = [
        name.replace("PART", made_up.NAME).replace("ROLE", made_up.ROLE).replace("BOARD", "unix")
        for name in named
    ]
    assert filled == [*made_up.STEPS, *made_up.GENERATED]


def test_its_driver_runs_on_micropython(tree: Path) -> None:
    test = f"tests/unit/firmware/test_sensor_{made_up.NAME}.py"
    done = run(tree, "tests/run_micropython.py", test, program="micropython")
    assert done.stdout.splitlines()[-1] == "2 passed, 0 failed", done.stdout + done.stderr


@pytest.mark.timeout(120)
def test_the_checks_of_the_tree_accept_it(tree: Path) -> None:
    tests = [
        f"tests/unit/firmware/test_sensor_{made_up.NAME}.py",
        "tests/docs/test_registers_page.py::test_the_page_is_current",
        "tests/docs/test_registers_page.py::test_the_page_names_everything",
        "tests/runtime/test_budgets.py",
        "tests/unit/boards/test_boards.py",
    ]
    done = run(tree, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "wind_speed" in (tree / "docs" / "registers.md").read_text(encoding="utf-8")


@pytest.mark.timeout(120)
def test_a_node_shows_its_value_over_modbus(tree: Path, tmp_path: Path) -> None:
    done = run(tree, "-c", made_up.READ_IT, str(tmp_path))
    assert done.stdout.split() == ["wind_speed", str(made_up.RAW)], done.stdout + done.stderr
