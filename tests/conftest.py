"""Rules that hold for every test.

* A test that needs a program of the system (marked ``tool`` or ``mosquitto``) is skipped where
  there is none, counted in the summary with the command that installs it, and fails instead of
  being skipped when ``CI=true``.
* So is a test that runs the default board's image (fixture ``board_image``) where there is none.
* A test marked ``provokes("TF-FLASH-004")`` fails if that error was not made in it.
* An agent that stops in a test and cannot account for each reading by its own books fails it.
* A log record whose arguments do not fit its text fails the test that caused it.
"""

import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NoReturn

import hypothesis
import pytest

from boards import build as images
from boards.errors import BoardError
from boards.flash.errors import FlashFault, FlashingError
from boards.folder import default_name
from hil.tools import TOOLS

MISSING = " is not installed: "
IMAGE_TOOLS = ("arm-none-eabi-gcc", "gcc", "make")
IMAGE_VARIABLE = f"TIANFU_{default_name().upper()}_ELF"
BOARD = default_name()
NO_IMAGE = f"no image of {BOARD}: "

# A slow machine is not a failure; the time limit of each test is pytest-timeout's.
hypothesis.settings.register_profile("tianfu", deadline=None, print_blob=True)
hypothesis.settings.load_profile("tianfu")


def find_tool(name: str) -> Path | None:
    """Return a program's path: installed, or unpacked by tests/tools/debian.sh; None if absent."""
    return TOOLS[name].find()


def tools_of(item: pytest.Item) -> list[str]:
    """Return the programs that a test needs; pytest.UsageError for one that is in no table."""
    names = [str(name) for marker in item.iter_markers("tool") for name in marker.args]
    if item.get_closest_marker("mosquitto") is not None:
        names.append("mosquitto")
    unknown = sorted(set(names) - set(TOOLS))
    if unknown:
        raise pytest.UsageError(
            f"{item.nodeid}: expected programs of TOOLS in hil/tools.py, got {unknown}"
        )
    return names


def outcome_without(ci: str) -> str:
    """Return what becomes of a test that needs what is not there: ``skip`` or ``fail``."""
    return "fail" if ci.lower() == "true" else "skip"


def not_tested(reason: str) -> NoReturn:
    """Skip the test that asks, or fail it where ``CI=true``."""
    if outcome_without(os.environ.get("CI", "")) == "fail":
        pytest.fail(f"CI=true, and {reason}", pytrace=False)
    pytest.skip(reason)


def need_tools(names: Iterable[str]) -> None:
    """Skip or fail the test that asks if one of these programs is not there."""
    for tool in names:
        if find_tool(tool) is None:
            not_tested(f"{tool}{MISSING}{TOOLS[tool].remedy}")


def pytest_runtest_setup(item: pytest.Item) -> None:
    need_tools(tools_of(item))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        for tool in TOOLS:
            skipped[tool] += f"{tool}{MISSING}" in str(report.longrepr)
        skipped[NO_IMAGE] += NO_IMAGE in str(report.longrepr)
    no_image = skipped.pop(NO_IMAGE, 0)
    counted = {tool: count for tool, count in skipped.items() if count}
    if not counted and not no_image:
        return
    terminalreporter.section("NOT TESTED", sep="!", red=True, bold=True)
    for tool, count in counted.items():
        terminalreporter.line(
            f"{count} tests were skipped, {tool} is not installed. "
            f"To run them: {TOOLS[tool].remedy}",
            red=True,
        )
    if no_image:
        terminalreporter.line(
            f"{no_image} tests were skipped, there is no image of {BOARD}. "
            f"To see why: tianfu-node build {BOARD}",
            red=True,
        )


@pytest.fixture(scope="session")
def mosquitto_path() -> Path:
    """Return the broker's executable, for tests marked ``mosquitto``."""
    path = find_tool("mosquitto")
    assert path is not None, "mark the test with pytest.mark.mosquitto"
    return path


@pytest.fixture(scope="session")
def board_image() -> Path:
    """Return the board's image: named by TIANFU_STM32F405_ELF, else built (cached)."""
    if named := os.environ.get(IMAGE_VARIABLE):
        path = Path(named).resolve()
        if not path.is_file():
            pytest.fail(f"{IMAGE_VARIABLE}: expected an ELF file, {path} is none", pytrace=False)
        return path
    need_tools(IMAGE_TOOLS)
    try:
        return images.build(BOARD).elf
    except BoardError as error:
        not_tested(f"{NO_IMAGE}{error}")


class _FormatCheck(logging.Handler):
    """Format every record and remember those that cannot be formatted."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.bad: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        try:
            record.getMessage()
        except (TypeError, ValueError, KeyError) as error:
            self.bad.append(f"{record.pathname}:{record.lineno}: {record.msg!r}: {error}")


class _Books(logging.Handler):
    """Keeps what agents log about readings that they cannot account for."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Take one record of the agent's log."""
        if "unaccounted for" in record.msg:
            self.found.append(record.getMessage())


@pytest.fixture(autouse=True)
def _balanced_books() -> Iterator[None]:
    books, log = _Books(), logging.getLogger("gateway_agent.agent")
    log.addHandler(books)
    yield
    log.removeHandler(books)
    assert not books.found, books.found


@pytest.fixture(autouse=True)
def _log_records_fit_their_text() -> Iterator[None]:
    check = _FormatCheck()
    root = logging.getLogger()
    root.addHandler(check)
    yield
    root.removeHandler(check)
    assert not check.bad, "log records whose arguments do not fit:\n" + "\n".join(check.bad)


@pytest.fixture(autouse=True)
def _marked_errors_are_provoked(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    wanted = {str(code) for mark in request.node.iter_markers("provokes") for code in mark.args}
    made: set[str] = set()
    if wanted:
        begin = FlashingError.__init__

        def noted(self: FlashingError, fault: FlashFault, what: str) -> None:
            made.add(fault.code)
            begin(self, fault, what)

        monkeypatch.setattr(FlashingError, "__init__", noted)
    yield
    assert wanted <= made, f"marked as provoked, and never made: {sorted(wanted - made)}"
