"""The end of a run: which engines ran, which did not, and whether CI may accept that."""

from __future__ import annotations

import pytest

from hil.engines.registry import KINDS
from hil.testing.session import SESSION, Session
from hil.testing.speed import HOST, VIRTUAL, speed_line


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
    """Keep the running session: reports carry no configuration."""
    global _session  # noqa: PLW0603 - one process runs one session
    _session = session.config.stash[SESSION]


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail a run under CI=true that lacked an engine which CI must have."""
    state = session.config.stash[SESSION]
    if state.missing_in_ci() and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def summary_line(session: Session) -> str:
    """Return one line: which engines ran, which did not, and why."""
    ran = [
        f"{name} {probe.version} ran {session.ran[name]}" for name, probe in session.engines.items()
    ]
    absent = [f"{name} did not: {why}" for name, why in session.absent.items()]
    return "engines: " + "; ".join(([", ".join(ran)] if ran else ["none ran"]) + absent)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print that line, and the engines without which this run does not count."""
    session = terminalreporter.config.stash[SESSION]
    terminalreporter.line(summary_line(session))
    ends = [
        dict(report.user_properties)
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", "") == "teardown"
    ]
    if line := speed_line((end.get(VIRTUAL, 0.0), end.get(HOST, 0.0)) for end in ends):
        terminalreporter.line(line)
    for name in session.missing_in_ci():
        remedy = KINDS[name].probe().remedy
        text = f"FAILED: CI=true, and engine {name} did not run: {session.absent[name]}: {remedy}"
        terminalreporter.line(text, red=True)
