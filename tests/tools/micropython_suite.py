"""Run MicroPython's own test suite on a board image: ``python -m tests.tools.micropython_suite``.

The tree's ``tests/run-tests.py`` drives the image's REPL on an emulated console, several
emulators side by side. ``boards/<board>/mpy_tests.toml`` lists which folders are run and which
tests cannot apply, each with its reason; everything else must pass, and a test that is listed
but would be run under no folder is a mistake in the list.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from boards.build import build
from boards.errors import BoardError
from boards.folder import default_name
from boards.source import micropython_tree
from boards.toolchain import find_tool
from tests.paths import ROOT

LIMIT_S = 900
EMULATOR = "qemu-system-arm -M netduinoplus2 -display none -monitor none -serial pty -kernel"


@dataclass(frozen=True)
class Plan:
    """Hold what to run and what not."""

    folders: list[str]
    excluded: dict[str, str]  # path below tests/, or a pattern with *, and the reason


@dataclass(frozen=True)
class Outcome:
    """Hold the result of one shard."""

    passed: int
    skipped: list[str]  # by the tests themselves: a feature check failed
    failed: list[str]
    problem: str  # empty if the run came to its end


def read_plan(path: Path) -> Plan:
    """Return the board's list; KeyError if it lacks a table."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    return Plan(list(table["folders"]), dict(table["excluded"]))


def choose(tests: Path, plan: Plan) -> tuple[list[str], list[str]]:
    """Return the files to run, and the entries of the list that name no file."""
    files = {
        path.relative_to(tests).as_posix()
        for folder in plan.folders
        for path in (tests / folder).glob("*.py")
    }
    dead: list[str] = []
    for pattern in plan.excluded:
        matched = {name for name in files if Path(name).match(pattern)}
        if not matched:
            dead.append(pattern)
        files -= matched
    return sorted(files), dead


def parse(text: str) -> Outcome:
    """Return what run-tests.py printed, as an outcome."""
    done = re.search(r"^(\d+) tests passed$", text, re.MULTILINE)
    skipped = re.search(r"^\d+ tests skipped: (.*)$", text, re.MULTILINE)
    failed = re.findall(r"^FAIL  (\S+)", text, re.MULTILINE)
    return Outcome(
        passed=int(done[1]) if done else text.count("\npass  "),
        skipped=skipped[1].split() if skipped else [],
        failed=failed,
        problem="" if done else "\n".join(text.strip().splitlines()[-5:]),
    )


@contextmanager
def emulator(elf: Path) -> Iterator[str]:
    """Start a board that has the image; yield the path of its console."""
    command = [*EMULATOR.split(), str(elf)]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline().decode(errors="replace")
            console = re.search(r"/dev/pts/\d+", line)
            if console is None:
                raise RuntimeError(f"{EMULATOR}: expected the path of a pty, got {line!r}")
            yield console[0]
        finally:
            process.kill()


def run_shard(tests: Path, elf: Path, files: list[str], results: Path) -> Outcome:
    """Run one emulator with its share of the files."""
    results.mkdir(parents=True, exist_ok=True)
    log = results / "log.txt"
    environment = {
        **os.environ,
        "PYTHONWARNINGS": "ignore",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }
    with log.open("wb") as file, emulator(elf) as console:
        try:
            subprocess.run(
                [sys.executable, "run-tests.py", "-t", console, "-r", str(results), *files],
                cwd=tests,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                timeout=LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            file.write(f"\nno end after {LIMIT_S} s\n".encode())
    return parse(log.read_text(encoding="utf-8", errors="replace"))


def main() -> int:
    """Run the suite; 1 if a test failed or the list is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--board", default=default_name())
    # Twice the cores: half of the time an emulator waits for the next byte of its console.
    parser.add_argument("--jobs", type=int, default=2 * (os.cpu_count() or 1))
    parser.add_argument("--results", type=Path, help="keep outputs of failed tests here")
    parser.add_argument("folders", nargs="*", help="only these folders of tests/")
    arguments = parser.parse_args()
    plan = read_plan(ROOT / "boards" / arguments.board / "mpy_tests.toml")
    try:
        find_tool("qemu-system-arm", "running MicroPython's tests", "qemu-system-arm")
        image = build(arguments.board, print)
        tests = micropython_tree(print).path / "tests"
    except BoardError as error:
        print(error, file=sys.stderr)
        return 1
    files, dead = choose(tests, plan)
    if arguments.folders:
        files = [name for name in files if name.rpartition("/")[0] in arguments.folders]
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        results = arguments.results or Path(scratch)
        shards = [
            (tests, image.elf, files[n :: arguments.jobs], results.resolve() / str(n))
            for n in range(arguments.jobs)
        ]
        with ThreadPoolExecutor(arguments.jobs) as pool:
            outcomes = list(pool.map(lambda shard: run_shard(*shard), shards))
    failed = sorted(name for outcome in outcomes for name in outcome.failed)
    skipped = sum(len(outcome.skipped) for outcome in outcomes)
    passed = sum(outcome.passed for outcome in outcomes)
    for outcome in outcomes:
        if outcome.problem:
            print(f"a shard did not come to its end:\n{outcome.problem}", file=sys.stderr)
    for name in dead:
        print(f"mpy_tests.toml: {name}: no such test in the folders", file=sys.stderr)
    for name in failed:
        print(f"FAIL {name}", file=sys.stderr)
    print(
        f"MicroPython's tests on {arguments.board} in {time.monotonic() - start:.0f} s: "
        f"{len(plan.excluded)} entries of the list cannot apply"
    )
    print(f"{passed} passed, {len(failed)} failed, {skipped} skipped")
    wrong = failed or dead or any(outcome.problem for outcome in outcomes)
    return 1 if wrong or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
