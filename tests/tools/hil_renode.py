"""Run everything that there is for Renode, and print one line of result for each part.

    RENODE=/path/to/renode make hil-renode
    RENODE=... make hil-renode ARGS="--part suites -- -k boot -n 0"

Three parts: the suites (pytest), the Robot suites (renode-test) and the live power cuts (pytest).
All run the same image. What follows `--` goes to pytest. Exit status 0: every part that was asked
for passed. A part that cannot run has failed: its line has what to do about it.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from boards.folder import default_name
from hil.engines.images import image_of
from hil.engines.registry import probe_renode
from hil.errors import HilError
from hil.renode.process import find_renode
from hil.testing.report.results import read_results
from hil.testing.speed import speed_line
from tests.paths import ROOT

ROBOT: Final = ROOT / "hil" / "robot"
#: As `make test` runs the suites on QEMU: what takes minutes is cut short.
SHORT: Final = ("--hil-soak", "60", "--hil-polls", "300")
WORKERS: Final = ("-n", "2")
#: Longer than all suites take on a slow machine.
_ROBOT_LIMIT_S: Final = 1800.0
#: What a wrapper script starts.
_DLL: Final = re.compile(rb"([^\s\"']+/Renode\.dll)")
_SCRIPT_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class PartResult:
    """One part: did it pass, and what there is to print."""

    name: str
    passed: bool
    text: str
    seconds: float = 0.0

    def line(self) -> str:
        """Return its line."""
        word = "passed" if self.passed else "FAILED"
        return f"{self.name:<8} {word}  {self.text} ({self.seconds:.0f} s)"


def run_pytest(name: str, words: Sequence[str], image: Path, out: Path) -> PartResult:
    """Run pytest on Renode; what is no pass is counted by its kind, a skip with its reason."""
    results = out / f"renode-{name}.jsonl"
    results.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "--engine", "renode", "--image", str(image)]
    command += ["--hil-out", str(out), "--hil-results", str(results), *words]
    code = subprocess.run(command, cwd=ROOT, check=False).returncode
    tests = read_results(results).tests
    counts = Counter(test.outcome for test in tests)
    ran = sum(counts.values()) - counts["skipped"]
    text = f"{counts['passed']} of {ran} tests"
    for outcome in ("failed", "error", "xfailed"):
        text += f", {counts[outcome]} {outcome}" if counts[outcome] else ""
    slow = [test.id for test in tests if test.reason.startswith("host too slow")]
    if slow:
        text += f", without a result (host too slow): {' '.join(slow)}"
    if counts["skipped"] > len(slow):
        text += f", {counts['skipped'] - len(slow)} skipped"
    if code not in (0, 1):
        text += f", pytest ended with exit status {code}"
    if speed := speed_line((t.virtual_s, t.virtual_host_s) for t in tests):
        text += f"; {speed}"
    return PartResult(name, code == 0 and not slow and ran > 0, text)


def renode_test_words() -> list[str]:
    """Return how renode-test is called: RENODE_TEST, or the program that belongs to RENODE.

    It is beside Renode's executable, above it as in a source tree, or in PATH. Where RENODE is a
    script that starts a Renode.dll, it is the one of that tree, and gets its folder. Empty: there
    is none.
    """
    if named := os.environ.get("RENODE_TEST"):
        return shlex.split(named)
    renode = find_renode().resolve()
    started = _DLL.search(renode.read_bytes()[:_SCRIPT_BYTES])
    dll = Path(os.fsdecode(started[1])) if started else renode
    start = dll if dll.is_file() else renode
    places = [folder / "renode-test" for folder in list(start.parents)[:5]]
    found = next((str(place) for place in places if os.access(place, os.X_OK)), None)
    words = [found or shutil.which("renode-test") or ""]
    if not words[0]:
        return []
    if start.name == "Renode.dll":
        words.append(f"--robot-framework-remote-server-full-directory={start.parent}")
        # Later versions have no such option: they run nothing else.
        known = subprocess.run([*words, "--help"], capture_output=True, text=True, check=False)
        words += ["--runner=dotnet"] if "--runner" in known.stdout else []
    return words


def cases() -> int:
    """Return how many cases the Robot suites have."""
    from robot.running import TestSuiteBuilder

    return sum(int(TestSuiteBuilder().build(path).test_count) for path in suites())


def suites() -> list[Path]:
    """Return the files of the Robot suites."""
    return sorted(ROBOT.glob("*.robot"))


def run_robot(words: Sequence[str], image: Path, out: Path) -> PartResult:
    """Run the Robot suites. Passed: renode-test ended well, and every case there is has passed:
    it counts an empty selection as success.
    """
    if not words:
        return PartResult(
            "robot",
            False,
            "no renode-test beside Renode or in PATH: expected the one of Renode's release; name "
            "it with RENODE_TEST, or leave the part out: --part suites --part cuts",
        )
    folder = out / "robot"
    shutil.rmtree(folder, ignore_errors=True)
    command = [*words, "-r", str(folder), *map(str, suites())]
    environment = {**os.environ, "TIANFU_ELF": str(image)}
    try:
        code = subprocess.run(
            command, cwd=ROOT, env=environment, check=False, timeout=_ROBOT_LIMIT_S
        ).returncode
    except subprocess.TimeoutExpired:
        return PartResult("robot", False, f"{words[0]} did not end in {_ROBOT_LIMIT_S:.0f} s")
    passed, expected = robot_passes(folder / "robot_output.xml"), cases()
    text = f"{passed} of {expected} cases"
    if code:
        text += f", {words[0]} ended with exit status {code}: see {folder}"
    return PartResult("robot", code == 0 and passed == expected, text)


def robot_passes(output: Path) -> int:
    """Return the number of cases that passed, by renode-test's report; 0 without one."""
    if not output.is_file():
        return 0
    from robot.result import ExecutionResult

    return int(ExecutionResult(output).statistics.total.passed)


def parts(words: argparse.Namespace, image: Path) -> Mapping[str, Callable[[], PartResult]]:
    """Return what runs each part, in order."""
    return {
        "suites": lambda: run_pytest(
            "suites",
            [*words.suites, "-m", "not exhaustive", *WORKERS, *SHORT, *words.pytest],
            image,
            words.out,
        ),
        "robot": lambda: run_robot(renode_test_words(), image, words.out),
        "cuts": lambda: run_pytest(
            "cuts",
            ["hil/scenarios/test_flash_states.py", "-k", "power_cut", *WORKERS, *words.pytest],
            image,
            words.out,
        ),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts that are asked for, print their lines, return the exit status."""
    parser = argparse.ArgumentParser(prog="make hil-renode", description=__doc__.split("\n")[0])
    names = ("suites", "robot", "cuts")
    parser.add_argument("--part", action="append", choices=names, help="only this one; repeatable")
    parser.add_argument("--image", type=Path, help="ELF file of the board's image; else built")
    parser.add_argument("--suites", nargs="+", default=["hil"], help="which tests; default: hil")
    parser.add_argument("--out", type=Path, default=ROOT / "hil-out", help="for reports")
    parser.add_argument("pytest", nargs="*", help="after `--`: more words for pytest")
    words = parser.parse_args(arguments)
    try:
        found = probe_renode()
        if found.problem:
            raise HilError(f"no Renode: {found.problem}. {found.remedy}")
        image = words.image or image_of(default_name())
    except HilError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    words.out = words.out.resolve()
    words.out.mkdir(parents=True, exist_ok=True)
    results = []
    for name, run in parts(words, image.resolve()).items():
        if words.part and name not in words.part:
            continue
        begun = time.monotonic()
        done = run()
        results.append(PartResult(done.name, done.passed, done.text, time.monotonic() - begun))
    sys.stdout.write(f"\nRenode {found.version} ({found.program}), image {image}\n")
    sys.stdout.writelines(f"{result.line()}\n" for result in results)
    return 0 if all(result.passed for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
