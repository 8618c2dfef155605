"""Rules that hold for every test.

* A test that needs mosquitto is skipped where there is none, counted in the summary with the
  command that installs it, and fails instead of being skipped when ``CI=true``.
* A log record whose arguments do not fit its text fails the test that caused it.
"""

import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parent.parent
INSTALL_MOSQUITTO = "sudo apt-get install --yes mosquitto"

# A slow machine is not a failure; the time limit of each test is pytest-timeout's.
hypothesis.settings.register_profile("tianfu", deadline=None, print_blob=True)
hypothesis.settings.load_profile("tianfu")


def find_mosquitto() -> Path | None:
    """The broker's executable: installed, or unpacked by tests/tools/mosquitto.sh."""
    unpacked = str(ROOT / ".cache" / "mosquitto" / "usr" / "sbin")
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", unpacked])
    found = shutil.which("mosquitto", path=path)
    return Path(found) if found else None


def mosquitto_outcome(present: bool, ci: str) -> str:
    """What becomes of a test that needs mosquitto: ``run``, ``skip`` or ``fail``."""
    if present:
        return "run"
    return "fail" if ci.lower() == "true" else "skip"


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("mosquitto") is None:
        return
    outcome = mosquitto_outcome(find_mosquitto() is not None, os.environ.get("CI", ""))
    if outcome == "fail":
        pytest.fail(f"CI=true, and mosquitto is not installed: {INSTALL_MOSQUITTO}", pytrace=False)
    if outcome == "skip":
        pytest.skip(f"mosquitto is not installed: {INSTALL_MOSQUITTO}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = sum(
        "mosquitto is not installed" in str(report.longrepr)
        for report in terminalreporter.stats.get("skipped", [])
    )
    if skipped:
        terminalreporter.section("NOT TESTED", sep="!", red=True, bold=True)
        terminalreporter.line(
            f"{skipped} tests against a real broker were skipped, mosquitto is not installed. "
            f"To run them: {INSTALL_MOSQUITTO}",
            red=True,
        )


@pytest.fixture(scope="session")
def mosquitto_path() -> Path:
    """The broker's executable, for tests marked ``mosquitto``."""
    path = find_mosquitto()
    assert path is not None, "mark the test with pytest.mark.mosquitto"
    return path


class _FormatCheck(logging.Handler):
    """Formats every record and remembers those that cannot be formatted."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.bad: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        try:
            record.getMessage()
        except (TypeError, ValueError, KeyError) as error:
            self.bad.append(f"{record.pathname}:{record.lineno}: {record.msg!r}: {error}")


@pytest.fixture(autouse=True)
def _log_records_fit_their_text() -> Iterator[None]:
    check = _FormatCheck()
    root = logging.getLogger()
    root.addHandler(check)
    yield
    root.removeHandler(check)
    assert not check.bad, "log records whose arguments do not fit:\n" + "\n".join(check.bad)
