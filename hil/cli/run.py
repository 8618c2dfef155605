"""``tianfu-hil run``: the suites, for people who are no Python developers.

pytest runs in a process of its own and tells one JSON line for each finished test; this shows them
and makes the reports.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.text import Text

from hil.testing.report.results import Result, Results, read_results

_LOOK_S: Final = 0.1
_STOP_S: Final = 20.0
_SUITES: Final = Path(__file__).resolve().parent.parent / "scenarios"
_MARK: Final = {
    "passed": ("ok", "green"),
    "failed": ("FAILED", "red"),
    "error": ("ERROR", "red"),
    "skipped": ("skipped", "yellow"),
    "xfailed": ("known defect", "yellow"),
}


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
    """Run suites on emulated boards; exit status 0 if none failed.

    Examples:

    tianfu-hil run

    tianfu-hil run boot bus --engine qemu --seed 7 --html report.html --junit junit.xml

    A failing test leaves a folder below --out with consoles, bus trace, seed and the command that
    repeats it.
    """
    files = [_suite(name) for name in suites or []] or [_SUITES]
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tianfu-hil-") as scratch:
        lines = Path(scratch) / "results.jsonl"
        command = [sys.executable, "-m", "pytest", "-p", "hil.plugin", *map(str, files)]
        command += ["--import-mode=importlib", "-p", "no:cacheprovider"]
        for option in ("asyncio_mode=strict", "asyncio_default_fixture_loop_scope=function"):
            command += ["-o", option]
        command += ["--seed", str(seed), "--hil-soak", f"{soak:g}", "--hil-repeat", str(repeat)]
        command += ["--hil-out", str(out), "--hil-results", str(lines)]
        command += [f"--engine={name}" for name in engine or []]
        command += ["--board", board] if board else []
        command += ["-k", only] if only else []
        command += ["-n", str(jobs), "--dist", "worksteal"] if jobs > 1 else []
        command += ["--junit-xml", str(junit.absolute())] if junit else []
        command += ["--hil-keep"] if html else []
        begun = time.monotonic()
        log = out / "pytest.log"
        code = _attend(command, lines, log)
        results = read_results(lines)
        last = _said(log)
        if html is not None:
            from hil.testing.report.html import write_report

            write_report(html, results, last, time.monotonic() - begun)
            _drop_passed(results)
    _conclude(results, last, time.monotonic() - begun, code, log, junit, html)


def _suite(name: str) -> Path:
    path = Path(name)
    if path.exists():
        return path
    suite = _SUITES / f"test_{name.removeprefix('test_').removesuffix('.py')}.py"
    if suite.is_file():
        return suite
    known = sorted(p.stem.removeprefix("test_") for p in _SUITES.glob("test_*.py"))
    raise typer.BadParameter(f"expected a file or one of {', '.join(known)}, got {name!r}")


def _attend(command: list[str], lines: Path, log: Path) -> int:
    """Run pytest, showing each result as it comes; its exit status."""
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
            raise typer.Exit(1) from None


def _show(console: Console, result: Result) -> None:
    word, style = _MARK.get(result.outcome, (result.outcome, ""))
    line = Text(f"{word:>9}", style=style)
    line.append(f"  {result.seconds:6.1f} s  {result.title}", style="default")
    if result.reason:
        line.append(f"  ({result.reason.splitlines()[0]})")
    console.print(line)


def _said(log: Path) -> list[str]:
    """The last words of pytest that are worth showing: what ran on what."""
    text = log.read_text(encoding="utf-8", errors="replace")
    return [
        line for line in text.splitlines() if line.startswith(("engines: ", "FAILED: ", "ERROR: "))
    ]


def _drop_passed(results: Results) -> None:
    """The page has what it needs: passing tests leave nothing."""
    for result in results.tests:
        if result.outcome not in ("failed", "error") and result.folder is not None:
            shutil.rmtree(result.folder, ignore_errors=True)


def _conclude(
    results: Results,
    last: list[str],
    seconds: float,
    code: int,
    log: Path,
    junit: Path | None,
    html: Path | None,
) -> None:
    counts = Counter(result.outcome for result in results.tests)
    for result in results.tests:
        if result.outcome in ("failed", "error"):
            first = result.reason.partition("\n")[0]
            typer.echo(f"\n{result.title}\n  {first}")
            typer.echo(f"  evidence: {result.folder}\n  repeat:   {result.repeat}")
    typer.echo("")
    for line in last:
        typer.echo(line)
    for name, path in (("JUnit XML", junit), ("report", html)):
        if path is not None:
            typer.echo(f"{name}: {path}")
    if not results.tests:
        typer.echo(f"no test ran (pytest ended with status {code}); all it said: {log}", err=True)
        tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
        typer.echo("\n".join(tail), err=True)
        raise typer.Exit(2 if code == 4 else 1)
    said = ", ".join(f"{number} {outcome}" for outcome, number in counts.most_common())
    typer.echo(f"{said} in {seconds:.0f} s")
    if code:
        raise typer.Exit(1)
