"""The rules of tests/conftest.py hold: each is broken once, in a pytest of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hil.tools import TOOLS
from tests.paths import ROOT

CONFTEST = ROOT / "tests" / "conftest.py"
NO_TOOL = "\n\ndef find_tool(name):\n    return None\n"
NEEDS_BROKER = "import pytest\n\n@pytest.mark.mosquitto\ndef test_it():\n    pass\n"
NEEDS_TWO = "import pytest\n\n@pytest.mark.tool('mbpoll', 'tshark')\ndef test_it():\n    pass\n"
NEEDS_UNKNOWN = "import pytest\n\n@pytest.mark.tool('mbpol')\ndef test_it():\n    pass\n"
BAD_LOG = "import logging\n\ndef test_it():\n    logging.getLogger('x').info('%d of %d', 1)\n"
GOOD_LOG = "import logging\n\ndef test_it():\n    logging.getLogger('x').info('%d of %d', 1, 2)\n"


def run(folder: Path, test: str, extra: str = "", ci: str = "") -> tuple[int, str]:
    """Run pytest over one test file under our conftest (plus ``extra``): exit code, output."""
    (folder / "conftest.py").write_text(CONFTEST.read_text(encoding="utf-8") + extra, "utf-8")
    (folder / "test_it.py").write_text(test, encoding="utf-8")
    (folder / "pytest.ini").write_text(
        "[pytest]\nmarkers =\n    mosquitto\n    tool\nlog_level = DEBUG\n", encoding="utf-8"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:randomly", "-rs"],
        cwd=folder,
        env={**os.environ, "CI": ci},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(("test", "tool"), [(NEEDS_BROKER, "mosquitto"), (NEEDS_TWO, "mbpoll")])
def test_without_a_tool_tests_are_skipped_loudly_and_counted(
    tmp_path: Path, test: str, tool: str
) -> None:
    code, output = run(tmp_path, test, NO_TOOL)
    assert code == 0, output
    assert "1 skipped" in output
    assert f"1 tests were skipped, {tool} is not installed" in output
    assert f"sudo apt-get install --yes --no-install-recommends {tool}" in output


@pytest.mark.parametrize(("test", "tool"), [(NEEDS_BROKER, "mosquitto"), (NEEDS_TWO, "mbpoll")])
def test_without_a_tool_ci_fails(tmp_path: Path, test: str, tool: str) -> None:
    code, output = run(tmp_path, test, NO_TOOL, ci="true")
    assert code == 1, output
    assert "1 error" in output or "1 failed" in output
    assert f"sudo apt-get install --yes --no-install-recommends {tool}" in output


def test_a_tool_nobody_can_install_is_a_mistake(tmp_path: Path) -> None:
    code, output = run(tmp_path, NEEDS_UNKNOWN)
    assert code != 0, output
    assert "expected programs of TOOLS in hil/tools.py, got ['mbpol']" in output


@pytest.mark.parametrize("test", [NEEDS_BROKER, NEEDS_TWO])
def test_with_the_tools_tests_run(tmp_path: Path, test: str) -> None:
    found = f"\n\ndef find_tool(name):\n    return Path({sys.executable!r})\n"
    code, output = run(tmp_path, test, found, ci="true")
    assert code == 0, output
    assert "1 passed" in output


def test_setup_installs_the_packages_of_the_table() -> None:
    """tests/tools/debian.sh installs what tests may ask for, and nothing else."""
    script = (CONFTEST.parent / "tools" / "debian.sh").read_text(encoding="utf-8")
    body = script[script.index("missing() {") : script.index("}", script.index("missing() {"))]
    installed = {
        word for line in body.splitlines() for word in line.partition("|| echo ")[2].split()
    }
    asked = {package for tool in TOOLS.values() for package in tool.packages}
    assert installed | {"influxdb", "mosquitto", "prometheus"} == asked


@pytest.mark.parametrize(("test", "expected"), [(GOOD_LOG, 0), (BAD_LOG, 1)])
def test_log_record_that_cannot_be_formatted_fails(
    tmp_path: Path, test: str, expected: int
) -> None:
    code, output = run(tmp_path, test)
    assert code == expected, output
    assert ("test_it.py:4" in output) == bool(expected)
