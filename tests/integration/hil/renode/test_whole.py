"""`make hil-renode`: one line for each part, and a run that passes has run everything.

Renode is the stand-in, renode-test a script that writes the report of one.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT

pytestmark = pytest.mark.timeout(120)

NODE = """
import pytest

@pytest.mark.asyncio
async def test_boots(node_bench):
    assert node_bench.nodes["air"].boot["boot_epoch"] == 1

@pytest.mark.skipif("not config.getoption('--hil-keep')")
def test_of_no_use(engine): ...
"""
SLOW = """
from hil.errors import HostTooSlow

def test_slow(engine):
    raise HostTooSlow("nothing came")
"""
BAD = """
def test_bad(engine):
    raise AssertionError
"""
CASES = 9


@pytest.fixture
def renode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the stand-in the Renode of this test."""
    program = tmp_path / "renode" / "renode"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m hil.renode.fake "$@"\n',
        encoding="utf-8",
    )
    program.chmod(0o755)
    monkeypatch.setenv("RENODE", str(program))
    return program


def make_renode_test(beside: Path, passes: int, status: int = 0) -> None:
    """Put a program there that takes a folder and suites, and reports ``passes`` cases."""
    words = ["PASS"] * passes + ["FAIL"] * (CASES - passes)
    cases = "".join(f"<test name='{i}'><status status='{w}'/></test>" for i, w in enumerate(words))
    program = beside.with_name("renode-test")
    program.write_text(
        "#!/bin/sh\n"
        'test "$1" = -r && test -f "$3" && test -f "$TIANFU_ELF" || exit 9\n'
        f'mkdir -p "$2" && echo "<robot><suite>{cases}</suite></robot>" > "$2/robot_output.xml"\n'
        f"exit {status}\n",
        encoding="utf-8",
    )
    program.chmod(0o755)


def run(
    tmp_path: Path, suite: str, *words: str, more: tuple[str, ...] = ()
) -> tuple[int, list[str]]:
    """Run the parts in a folder of their own; return the exit status and the lines of result."""
    (tmp_path / "test_it.py").write_text(suite, encoding="utf-8")
    elf = tmp_path / "firmware.elf"
    elf.write_bytes(b"\x7fELF")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.tools.hil_renode", "--image", str(elf)),
            *("--out", str(tmp_path / "out"), "--suites", str(tmp_path / "test_it.py"), *words),
            *("--", "-p", "hil.plugin", "-p", "no:cacheprovider", "-n", "0", *more),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    (tmp_path / "log").write_text(done.stdout, encoding="utf-8")
    _, _, lines = done.stdout.rpartition("\nRenode ")
    assert lines.startswith("1.16.1"), done.stdout + done.stderr
    return done.returncode, lines.splitlines()[1:]


def test_each_part_has_a_line(renode: Path, tmp_path: Path) -> None:
    make_renode_test(renode, CASES)
    code, (suites, robot) = run(tmp_path, NODE, "--part", "suites", "--part", "robot")
    assert suites.startswith("suites   passed  1 of 1 tests, 1 skipped")
    assert robot.startswith(f"robot    passed  {CASES} of {CASES} cases (")
    assert code == 0


@pytest.mark.parametrize(
    ("suite", "text"),
    [
        (NODE + BAD, "1 of 2 tests, 1 failed, 1 skipped"),
        (NODE + SLOW, "1 of 1 tests, without a result (host too slow): "),
        ("", "0 of 0 tests, pytest ended with exit status 5"),
    ],
    ids=["failed", "no result", "no test"],
)
@pytest.mark.usefixtures("renode")
def test_suites_that_have_not_passed(suite: str, text: str, tmp_path: Path) -> None:
    code, (line,) = run(tmp_path, suite, "--part", "suites")
    assert line.startswith(f"suites   FAILED  {text}"), line
    assert code == 1


@pytest.mark.parametrize(
    ("passes", "status", "text"),
    [
        (CASES - 1, 1, f"{CASES - 1} of {CASES} cases, "),
        # It calls an empty selection a success.
        (0, 0, f"0 of {CASES} cases ("),
    ],
)
def test_robot_suites_that_have_not_passed(
    passes: int, status: int, text: str, renode: Path, tmp_path: Path
) -> None:
    make_renode_test(renode, passes, status)
    code, (line,) = run(tmp_path, NODE, "--part", "robot")
    assert line.startswith(f"robot    FAILED  {text}"), line
    assert code == 1


def test_renode_test_of_a_source_tree_is_called_for_its_build(renode: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    make_renode_test(tree / "any", CASES)
    stub = tree / "renode-test"
    calls = tmp_path / "calls"
    text = stub.read_text(encoding="utf-8").removeprefix("#!/bin/sh\n")
    stub.write_text(
        f'#!/bin/sh\necho "$@" >> {calls}\n'
        'test "$2" = --help && echo " --runner {dotnet,mono,none}" && exit\nshift 2\n' + text,
        encoding="utf-8",
    )
    folder = tree / "output/bin/Release"
    folder.mkdir(parents=True)
    (folder / "Renode.dll").touch()
    script = renode.read_text(encoding="utf-8")
    renode.write_text(script.replace("exec", f"# {folder}/Renode.dll\nexec", 1), encoding="utf-8")
    code, (line,) = run(tmp_path, NODE, "--part", "robot")
    assert line.startswith("robot    passed"), line
    assert code == 0
    told = f"--robot-framework-remote-server-full-directory={folder}"
    assert (
        calls.read_text(encoding="utf-8").splitlines()[1].startswith(f"{told} --runner=dotnet -r")
    )


@pytest.mark.usefixtures("renode")
def test_a_missing_renode_test_has_not_passed(tmp_path: Path) -> None:
    code, (suites, robot) = run(tmp_path, NODE, "--part", "suites", "--part", "robot")
    assert suites.startswith("suites   passed")
    assert robot.startswith("robot    FAILED  no renode-test beside Renode or in PATH: expected")
    assert "RENODE_TEST" in robot
    assert code == 1


def test_a_missing_renode_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RENODE", str(tmp_path / "nothing"))
    done = subprocess.run(
        [sys.executable, "-m", "tests.tools.hil_renode"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "export RENODE=/path/to/renode" in done.stderr


@pytest.mark.usefixtures("renode")
def test_the_live_cuts_are_found(tmp_path: Path) -> None:
    code, (line,) = run(tmp_path, "", "--part", "cuts", more=("--collect-only", "-q"))
    assert line.startswith("cuts     FAILED  0 of 0 tests"), "a run of nothing is no success"
    assert code == 1
    listed = (tmp_path / "log").read_text(encoding="utf-8")
    assert listed.count("::test_power_cut_at_every_flash_operation[renode-") == 3
