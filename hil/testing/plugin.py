"""pytest plugin: the same tests on every engine that is there.

    pytest hil/ --engine qemu --seed 7

Options, markers, what is skipped and why, the folder of a failing test and the line at the end are
here; the fixtures are in :mod:`hil.testing.fixtures`.
"""

from __future__ import annotations

import json
import os
import shlex
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final

import pytest

from hil.engines.abilities import Capability
from hil.engines.fidelity import known_defect
from hil.engines.images import image_of
from hil.engines.registry import KINDS, EngineKind, Probe, available
from hil.errors import FidelityError, HostTooSlow
from hil.testing.evidence import Evidence, folder_name
from hil.testing.first_failure import FirstFailure

pytest_plugins = ["hil.testing.fixtures"]

ALL: Final = "all-available"
#: Engines that CI must not do without; Renode is in no package index.
NEEDED_IN_CI: Final = frozenset({"qemu", "unix"})
FULL_SOAK_S: Final = 300.0
FULL_POLLS: Final = 10_000
#: A board with a clock of its own may run at a fraction of the host's speed, and its emulator needs
#: seconds to come up: its tests have so many times the limit that is set for the others.
SLOW_CLOCK: Final = 4
_TAIL: Final = 4000

MARKERS: Final = (
    "needs(*capabilities): skipped on an engine without one of hil.engines.abilities.Capability",
    "fidelity(*ids): expected to fail on the engine of an entry of hil/engines/fidelity.toml",
    "soak: takes minutes, most of them idle; run first, so that others run beside it",
    "exhaustive: runs every case there is and takes minutes; left out of short runs by -m",
)


@dataclass(slots=True)
class Session:
    """What one run of pytest works with."""

    engines: dict[str, Probe]  # found, in order
    absent: dict[str, str]  # asked for or known, but not run: why
    seed: int
    out: Path
    board: str | None
    image: Path | None
    keep: bool
    soak_s: float
    polls: int
    in_ci: bool
    failures: FirstFailure = field(default_factory=FirstFailure)
    ran: Counter[str] = field(default_factory=Counter)

    def image_for(self, kind: EngineKind, where: str) -> Path | None:
        """The image that engines of ``kind`` run; None where they run the source.

        Built by the first worker that comes; a failure is not repeated.
        """
        if not kind.runs_image:
            return None
        if self.image is not None:
            return self.image
        board = self.board or kind.board
        return self.failures.once(f"image {board}", where, lambda: image_of(board))

    def missing_in_ci(self) -> list[str]:
        """Engines without which this run does not count."""
        return [name for name in self.absent if self.in_ci and name in NEEDED_IN_CI]


SESSION: Final = pytest.StashKey[Session]()
EVIDENCE: Final = pytest.StashKey[Evidence]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the bench."""
    group = parser.getgroup("hil", "boards and benches")
    group.addoption(
        "--engine",
        action="append",
        metavar="NAME",
        help=f"{', '.join(KINDS)} or {ALL} (the default); may be given more than once",
    )
    group.addoption("--board", metavar="NAME", help="board whose image the emulators run")
    group.addoption("--image", metavar="ELF", help="run this image in place of building one")
    group.addoption("--seed", type=int, default=1, metavar="N", help="draws faults (default 1)")
    group.addoption(
        "--hil-out",
        metavar="DIR",
        default="hil-out",
        help="where failing tests leave their folders (default hil-out)",
    )
    group.addoption("--hil-keep", action="store_true", help="passing tests leave a folder, too")
    group.addoption(
        "--hil-repeat", type=int, default=1, metavar="N", help="run every test with N seeds"
    )
    group.addoption(
        "--hil-soak",
        type=float,
        default=FULL_SOAK_S,
        metavar="S",
        help=f"length of the soak scenarios in seconds (default {FULL_SOAK_S:.0f})",
    )
    group.addoption(
        "--hil-polls",
        type=int,
        default=FULL_POLLS,
        metavar="N",
        help=f"polls of the scenarios that count them (default {FULL_POLLS:,})",
    )
    group.addoption("--hil-results", metavar="FILE", help="one JSON line for every finished test")


def pytest_configure(config: pytest.Config) -> None:
    """Find the engines that this run will use."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    asked = config.getoption("--engine") or [ALL]
    unknown = [name for name in asked if name not in KINDS and name != ALL]
    if unknown:
        raise pytest.UsageError(
            f"--engine: expected {', '.join(KINDS)} or {ALL}, got {', '.join(unknown)}"
        )
    engines: dict[str, Probe] = {}
    absent: dict[str, str] = {}
    for name, kind in KINDS.items():
        if ALL not in asked and name not in asked:
            absent[name] = "not asked for"
            continue
        probe = available(kind)
        if probe.problem:
            if name in asked:
                raise pytest.UsageError(f"--engine {name}: {probe.problem}. {probe.remedy}")
            absent[name] = probe.problem
        else:
            engines[name] = probe
    in_ci = os.environ.get("CI", "").lower() == "true" and ALL in asked
    out = Path(config.invocation_params.dir) / config.getoption("--hil-out")
    config.stash[SESSION] = Session(
        engines=engines,
        absent=absent,
        seed=config.getoption("--seed"),
        out=out,
        board=config.getoption("--board"),
        image=Path(config.getoption("--image")) if config.getoption("--image") else None,
        keep=config.getoption("--hil-keep"),
        soak_s=config.getoption("--hil-soak"),
        polls=config.getoption("--hil-polls"),
        in_ci=in_ci,
    )
    results = config.getoption("--hil-results")
    if results and not hasattr(config, "workerinput"):
        config.pluginmanager.register(ResultLines(Path(results)), "hil-results")


# --- which tests, on what ------------------------------------------------------------------------


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that uses an engine runs once on each, and once for each seed."""
    if "engine_name" not in metafunc.fixturenames:
        return
    session = metafunc.config.stash[SESSION]
    names: list[object] = list(session.engines)
    if not names:
        why = "; ".join(f"{name}: {reason}" for name, reason in session.absent.items())
        names = [pytest.param("none", marks=pytest.mark.skip(reason=f"no engine: {why}"))]
    metafunc.parametrize("engine_name", names, indirect=True, scope="session")
    repeat = metafunc.config.getoption("--hil-repeat")
    if repeat > 1:
        ids = [f"run{number}" for number in range(1, repeat + 1)]
        metafunc.fixturenames.append("_repetition")
        metafunc.parametrize("_repetition", range(repeat), ids=ids, indirect=True)


def engine_of(item: pytest.Item) -> str | None:
    """The engine an item runs on, None for one that uses none."""
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("engine_name") if callspec is not None else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what an engine cannot do; expect to fail what it is known to do wrong."""
    for item in items:
        name = engine_of(item)
        if name is None or name not in KINDS:
            continue
        item.user_properties += [
            ("engine", name),
            ("seed", seed_of(item)),
            ("repeat", repeat_command(item)),
        ]
        kind = KINDS[name]
        if Capability.VIRTUAL_TIME in kind.capabilities and (limit_s := time_limit_s(item)):
            item.add_marker(pytest.mark.timeout(SLOW_CLOCK * limit_s), append=False)
        for needed in _arguments(item, "needs", Capability):
            if Capability(needed) not in kind.capabilities:
                why = kind.lacks.get(Capability(needed), "it is not installed")
                reason = f"engine {name} has no {needed}: {why}"
                item.add_marker(pytest.mark.skip(reason=reason))
                break
        for entry in _arguments(item, "fidelity", str):
            try:
                defect = known_defect(entry)
            except FidelityError as error:
                raise pytest.UsageError(f"{item.nodeid}: {error}") from error
            if defect.engine == name:
                item.add_marker(
                    pytest.mark.xfail(reason=f"{entry}: {defect.difference}", strict=True)
                )
                break
    items.sort(key=lambda item: item.get_closest_marker("soak") is None)


def time_limit_s(item: pytest.Item) -> float:
    """How long a test may take, by its marker or by the configuration; 0: as long as it likes."""
    marker = item.get_closest_marker("timeout")
    limit = marker.args[0] if marker is not None and marker.args else item.config.getini("timeout")
    return float(limit or 0)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Build the image before the first test: a compiler has no test's time limit."""
    if session.config.option.collectonly:
        return
    for name in {engine_of(item) for item in session.items if "image" in fixtures_of(item)}:
        if name is not None and name in KINDS:
            # A failure is remembered, and each test that needs the image tells it.
            with suppress(Exception):
                session.config.stash[SESSION].image_for(KINDS[name], "the run's beginning")


def fixtures_of(item: pytest.Item) -> Sequence[str]:
    """The fixtures that an item asks for, directly or not."""
    return getattr(item, "fixturenames", ())


def _arguments(item: pytest.Item, marker: str, kind: type[str]) -> Iterator[str]:
    for mark in item.iter_markers(marker):
        for argument in mark.args:
            if not isinstance(argument, kind):
                raise pytest.UsageError(
                    f"{item.nodeid}: @pytest.mark.{marker} expects {kind.__name__}, "
                    f"got {argument!r}"
                )
            yield argument


def seed_of(item: pytest.Item) -> int:
    """The session's seed, one higher for every repetition of the test."""
    callspec = getattr(item, "callspec", None)
    number = callspec.params.get("_repetition", 0) if callspec is not None else 0
    return item.config.stash[SESSION].seed + int(number)


def derived_seed(seed: int, test_id: str) -> int:
    """The seed of one test: another one for each test, the same whatever ran before it."""
    return int.from_bytes(sha256(f"{seed} {test_id}".encode()).digest()[:4], "big")


def plain_id(item: pytest.Item) -> str:
    """The id of a test without the number of its repetition."""
    callspec = getattr(item, "callspec", None)
    if callspec is None or "_repetition" not in callspec.params:
        return item.nodeid
    head, _, parameters = item.nodeid.rpartition("[")
    kept = [p for p in parameters.rstrip("]").split("-") if not _is_run(p)]
    return f"{head}[{'-'.join(kept)}]"


def _is_run(parameter: str) -> bool:
    return parameter.startswith("run") and parameter[3:].isdecimal()


def repeat_command(item: pytest.Item) -> str:
    """The one command that runs this test again, alike."""
    session = item.config.stash[SESSION]
    words = ["python", "-m", "pytest", "-p", "hil.plugin", plain_id(item)]
    name = engine_of(item)
    if name:
        words += ["--engine", name]
    if session.board:
        words += ["--board", session.board]
    if session.image:
        words += ["--image", str(session.image)]
    words += ["--seed", str(seed_of(item))]
    if session.soak_s != FULL_SOAK_S:
        words += ["--hil-soak", f"{session.soak_s:g}"]
    if session.polls != FULL_POLLS:
        words += ["--hil-polls", str(session.polls)]
    return shlex.join(words)


# --- what a failing test leaves ------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Prepare the test's folder."""
    session = item.config.stash[SESSION]
    evidence = Evidence(session.out / folder_name(item.nodeid))
    evidence.forget()
    evidence.add("repeat.txt", lambda: repeat_command(item) + "\n")
    evidence.add("seed.txt", lambda: f"{seed_of(item)}\n")
    item.stash[EVIDENCE] = evidence


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Write the folder while everything that can be shown still stands."""
    report = yield
    evidence = item.stash.get(EVIDENCE, None)
    session = item.config.stash[SESSION]
    if evidence is None or (engine_of(item) is None and report.when != "call"):
        return report
    unexpected = report.failed and not hasattr(report, "wasxfail")
    if unexpected or (session.keep and report.when == "call"):
        text = f"{report.outcome} in {report.when}\n\n{report.longreprtext}\n"
        evidence.add("failure.txt" if unexpected else "outcome.txt", lambda: text)
        first = not evidence.written
        folder = evidence.write()
        if first:
            report.sections.append(("hil", f"evidence: {folder}\nrepeat: {repeat_command(item)}"))
            report.user_properties.append(("folder", str(folder)))
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """A host that is too slow for a test is told so; the board has not failed."""
    try:
        return (yield)
    except HostTooSlow as error:
        pytest.skip(f"host too slow: {error}")


# --- what a run says at its end ------------------------------------------------------------------


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count, in the process that reports, what ran on which engine."""
    if _session is None:
        return
    finished = report.when == "call" or (report.when == "setup" and report.failed)
    name = dict(report.user_properties).get("engine")
    counts = report.outcome != "skipped" or hasattr(report, "wasxfail")
    if finished and counts and name is not None:
        _session.ran[str(name)] += 1


_session: Session | None = None


def pytest_sessionstart(session: pytest.Session) -> None:
    """Reports carry no configuration, so the running session is kept here."""
    global _session  # noqa: PLW0603 - one process runs one session
    _session = session.config.stash[SESSION]


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """A run under CI=true without an engine that CI must have has failed."""
    state = session.config.stash[SESSION]
    if state.missing_in_ci() and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def summary_line(session: Session) -> str:
    """Which engines ran, which did not, and why: one line."""
    ran = [
        f"{name} {probe.version} ran {session.ran[name]}" for name, probe in session.engines.items()
    ]
    absent = [f"{name} did not: {why}" for name, why in session.absent.items()]
    return "engines: " + "; ".join(([", ".join(ran)] if ran else ["none ran"]) + absent)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say it, where tests of the bench were among the run."""
    session = terminalreporter.config.stash[SESSION]
    terminalreporter.line(summary_line(session))
    for name in session.missing_in_ci():
        remedy = KINDS[name].probe().remedy
        text = f"FAILED: CI=true, and engine {name} did not run: {session.absent[name]}: {remedy}"
        terminalreporter.line(text, red=True)


class ResultLines:
    """Appends one JSON object for each finished test: what reports and progress are made of."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._parts: dict[str, list[pytest.TestReport]] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("", encoding="utf-8")

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """How many there are, where this process has collected them."""
        self._say({"total": len(session.items)})

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect the parts of one test; say it when its last part is there."""
        parts = self._parts.setdefault(report.nodeid, [])
        parts.append(report)
        if report.when == "teardown":
            del self._parts[report.nodeid]
            self._say(result_of(parts))

    def _say(self, fields: dict[str, object]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(fields) + "\n")


def result_of(parts: Sequence[pytest.TestReport]) -> dict[str, object]:
    """One test as plain values: id, outcome, reason, seconds, and its properties."""
    worst = next((p for p in parts if p.failed), None)
    worst = worst or next((p for p in parts if p.when == "call"), parts[0])
    outcome: str = worst.outcome
    reason = ""
    if hasattr(worst, "wasxfail") and outcome == "skipped":
        outcome, reason = "xfailed", str(worst.wasxfail)
    elif outcome == "skipped" and isinstance(worst.longrepr, tuple):
        reason = str(worst.longrepr[2]).removeprefix("Skipped: ")
    elif outcome == "failed":
        crash = getattr(worst.longrepr, "reprcrash", None)
        reason = str(crash.message if crash is not None else worst.longrepr)
        if worst.when != "call":
            outcome = "error"
    properties = {name: value for part in parts for name, value in part.user_properties}
    return {
        "id": parts[0].nodeid,
        "outcome": outcome,
        "reason": reason[:_TAIL],
        "seconds": round(sum(part.duration for part in parts), 3),
        "text": worst.longreprtext[-_TAIL:] if outcome in ("failed", "error") else "",
        **properties,
    }
