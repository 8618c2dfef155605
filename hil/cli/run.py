"""``tianfu-hil run``: the suites, without any knowledge of pytest.

pytest runs in a process of its own and writes one JSON line for each finished test; this module
shows the lines as they come and makes the reports.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.text import Text

from hil.testing.report.results import FinishedTest, Results, read_results
from protocols.exit_status import FAULT, GOOD, UNUSABLE

_LOOK_S: Final = 0.1
_STOP_S: Final = 20.0
_TAIL_LINES: Final = 15
_BAD: Final = ("failed", "error")
#: pytest's own exit status for a wrong command line.
_PYTEST_USAGE: Final = 4
_SUITES: Final = Path(__file__).resolve().parent.parent / "scenarios"
_MARK: Final = {
    "passed": ("ok", "green"),
    "failed": ("FAILED", "red"),
    "error": ("ERROR", "red"),
    "skipped": ("skipped", "yellow"),
    "xfailed": ("known defect", "yellow"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """What one run is asked to do: the options of the command line."""

    files: Sequence[Path]
    engines: Sequence[str]
    board: str | None
    seed: int
    repeat: int
    jobs: int
    only: str | None
    soak_s: float
    out: Path
    junit: Path | None
    html: Path | None

    def command(self, results: Path) -> list[str]:
        """Return pytest's command line; the plugin writes its JSON lines to ``results``."""
        words = [sys.executable, "-m", "pytest", "-p", "hil.plugin", *map(str, self.files)]
        words += ["--import-mode=importlib", "-p", "no:cacheprovider"]
        words += ["-o", "asyncio_mode=strict"]
        words += ["-o", "asyncio_default_fixture_loop_scope=function"]
        words += ["--seed", str(self.seed), "--hil-repeat", str(self.repeat)]
        words += ["--hil-soak", f"{self.soak_s:g}"]
        words += ["--hil-out", str(self.out), "--hil-results", str(results)]
        words += [f"--engine={name}" for name in self.engines]
        words += ["--board", self.board] if self.board else []
        words += ["-k", self.only] if self.only else []
        words += ["-n", str(self.jobs), "--dist", "worksteal"] if self.jobs > 1 else []
        words += ["--junit-xml", str(self.junit.absolute())] if self.junit else []
        words += ["--hil-keep"] if self.html else []
        return words


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """The end of a run: pytest's exit status, the results, pytest's output in the file ``log``."""

    code: int
    results: Results
    log: Path
    seconds: float

    def output(self) -> list[str]:
        """Return the lines that pytest has printed."""
        return self.log.read_text(encoding="utf-8", errors="replace").splitlines()

    def no_test(self) -> str:
        """Return the line that a run without any test ends with."""
        return f"no test ran (pytest ended with status {self.code}); log: {self.log}"

    def about(self) -> list[str]:
        """Return the lines at the top of the page: the summary, or why no test ran."""
        if self.results.tests:
            return self.summary()
        return [self.no_test(), *self.output()[-_TAIL_LINES:]]

    def summary(self) -> list[str]:
        """Return the lines of pytest about the whole run: which engines ran, what has failed."""
        heads = ("engines: ", "FAILED: ", "ERROR: ")
        return [line for line in self.output() if line.startswith(heads)]


def run(
    suites: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SUITE]...",
            help="Names of suites (boot, bus, ...) or files; all of them if none is named.",
            show_default=False,
        ),
    ] = None,
    engine: Annotated[
        list[str] | None,
        typer.Option(
            "--engine",
            metavar="NAME",
            help="qemu, renode or unix; can be repeated. Without it: all that are there.",
        ),
    ] = None,
    board: Annotated[
        str | None, typer.Option("--board", metavar="NAME", help="Board to emulate.")
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", help="Draws faults and disturbances.")
    ] = 1,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML here.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a report here.")
    ] = None,
    repeat: Annotated[
        int, typer.Option("--repeat", metavar="N", min=1, help="Run each test with so many seeds.")
    ] = 1,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", metavar="N", min=1, help="Tests at a time.")
    ] = 1,
    only: Annotated[
        str | None, typer.Option("--only", metavar="TEXT", help="Tests whose name has this.")
    ] = None,
    soak: Annotated[
        float,
        typer.Option("--soak", metavar="S", min=5, help="Length of soak scenarios in seconds."),
    ] = 300.0,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where failing tests leave their folders.")
    ] = Path("hil-out"),
) -> None:
    """Run suites on emulated boards; exit status 0 if a test ran and none failed.

    Examples:

    tianfu-hil run

    tianfu-hil run boot bus --engine qemu --seed 7 --html report.html --junit junit.xml

    A failing test leaves a folder below --out with consoles, bus trace, seed and the command that
    repeats it.
    """
    plan = RunPlan(
        files=[_suite(name) for name in suites or []] or [_SUITES],
        engines=engine or [],
        board=board,
        seed=seed,
        repeat=repeat,
        jobs=jobs,
        only=only,
        soak_s=soak,
        out=out,
        junit=junit,
        html=html,
    )
    done = _execute(plan)
    _show_failures(done.results)
    _show_reports(plan, done)
    raise typer.Exit(_conclude(done))


def _suite(name: str) -> Path:
    path = Path(name)
    if path.exists():
        return path
    suite = _SUITES / f"test_{name.removeprefix('test_').removesuffix('.py')}.py"
    if suite.is_file():
        return suite
    known = sorted(p.stem.removeprefix("test_") for p in _SUITES.glob("test_*.py"))
    raise typer.BadParameter(f"expected a file or one of {', '.join(known)}, got {name!r}")


def _execute(plan: RunPlan) -> FinishedRun:
    """Run pytest, show each result as it comes, and write the HTML report if it is wanted."""
    plan.out.mkdir(parents=True, exist_ok=True)
    for old in (plan.junit, plan.html):
        if old is not None:
            old.unlink(missing_ok=True)  # a report of an earlier run is not one of this
    log = plan.out / "pytest.log"
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tianfu-hil-") as scratch:
        lines = Path(scratch) / "results.jsonl"
        code = _attend(plan.command(lines), lines, log)
        done = FinishedRun(code, read_results(lines), log, time.monotonic() - begun)
    if plan.junit is not None and not done.results.tests:
        from hil.testing.report.junit import write_no_test

        write_no_test(plan.junit, done.no_test(), done.output()[-_TAIL_LINES:])
    if plan.html is not None:
        from hil.testing.report.html import write_report

        write_report(plan.html, done.results, done.about(), done.seconds, code)
        _drop_passed(done.results)
    return done


def _attend(command: list[str], lines: Path, log: Path) -> int:
    """Run pytest, show each result as it comes; return its exit status."""
    console = Console(highlight=False, soft_wrap=True)
    shown = 0
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )
        try:
            with console.status("collecting") as status:
                while True:
                    ended = process.poll() is not None
                    results = read_results(lines)
                    for result in results.tests[shown:]:
                        _show(console, result)
                    shown = len(results.tests)
                    status.update(f"{shown} of {results.total or '?'} tests")
                    if ended:
                        return int(process.returncode)
                    time.sleep(_LOOK_S)
        except KeyboardInterrupt:
            # The terminal has sent the signal to pytest, too: it tears its boards down.
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
            raise typer.Exit(FAULT) from None


def _show(console: Console, result: FinishedTest) -> None:
    word, style = _MARK.get(result.outcome, (result.outcome, ""))
    line = Text(f"{word:>9}", style=style)
    line.append(f"  {result.seconds:6.1f} s  {result.title}", style="default")
    if result.reason:
        line.append(f"  ({result.reason.splitlines()[0]})")
    console.print(line)


def _drop_passed(results: Results) -> None:
    """Remove the folders of passing tests: the HTML report has what it needs of them."""
    for result in results.tests:
        if result.outcome not in _BAD and result.folder is not None:
            shutil.rmtree(result.folder, ignore_errors=True)


def _show_failures(results: Results) -> None:
    for result in results.tests:
        if result.outcome in _BAD:
            first = result.reason.partition("\n")[0]
            typer.echo(f"\n{result.title}\n  {first}")
            typer.echo(f"  evidence: {result.folder}\n  repeat:   {result.repeat}")


def _show_reports(plan: RunPlan, done: FinishedRun) -> None:
    typer.echo("")
    for line in done.summary():
        typer.echo(line)
    for name, path in (("JUnit XML", plan.junit), ("report", plan.html)):
        if path is not None and path.is_file():
            typer.echo(f"{name}: {path}")
        elif path is not None:
            typer.echo(f"{name}: not written (pytest ended with status {done.code})", err=True)


def _conclude(done: FinishedRun) -> int:
    """Print how many tests ended how; return the command's exit status."""
    if not done.results.tests:
        typer.secho(done.no_test(), fg="red", err=True)
        typer.echo("\n".join(done.output()[-_TAIL_LINES:]), err=True)
        return UNUSABLE if done.code == _PYTEST_USAGE else FAULT
    counts = Counter(result.outcome for result in done.results.tests)
    ended = ", ".join(f"{number} {outcome}" for outcome, number in counts.most_common())
    typer.echo(f"{ended} in {done.seconds:.0f} s")
    return FAULT if done.code else GOOD
