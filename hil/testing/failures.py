"""What a failing test leaves: its folder is prepared, filled at the failure, and named."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from hil.errors import HostTooSlow
from hil.testing.evidence import Evidence, folder_name
from hil.testing.repeat import engine_of, repeat_command, seed_of
from hil.testing.session import EVIDENCE, RAISED, SESSION


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
    if call.excinfo is not None and not call.excinfo.errisinstance(pytest.skip.Exception):
        item.stash[RAISED] = True
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
    """Skip a test whose host is too slow: the board has not failed."""
    return (yield from _skipping())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """Do so, too, where it shows at the end: what the test found stays beside it."""
    return (yield from _skipping())


def _skipping() -> Generator[None, None, None]:
    try:
        return (yield)
    except HostTooSlow as error:
        pytest.skip(f"host too slow: {error}")
