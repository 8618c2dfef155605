"""Options of the environment ``promise``, its seed, and the table of what was found."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from hil.site.mosquitto import MosquittoBroker

from . import table
from .breaks import BREAKS
from .rows import ROWS

FIXED_SEED = "1"  # of the short form: `make test` does the same each time
PROPERTY = "promise"  # of a report: row, faults, violations


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("promise", "the oracle of the promise")
    group.addoption("--promise", choices=("short", "whole"), default="short", help="how much")
    group.addoption("--promise-seed", default="", help="what repeats the choices of a run")
    group.addoption(
        "--break",
        dest="broken",
        action="append",
        choices=tuple(BREAKS),
        help="break the product on purpose; the whole form does it in every way",
    )
    group.addoption("--write-table", action="store_true", help=f"write {table.PAGE.name}")


def pytest_configure(config: pytest.Config) -> None:
    # The workers of xdist get the options as they are after this.
    if not config.option.promise_seed:
        is_whole = config.option.promise == "whole"
        config.option.promise_seed = secrets.token_hex(4) if is_whole else FIXED_SEED


def pytest_report_header(config: pytest.Config) -> str:
    return f"promise: {config.option.promise}, --promise-seed {config.option.promise_seed}"


@pytest.fixture
def broker(mosquitto_path: Path, tmp_path: Path) -> Iterator[MosquittoBroker]:
    """A mosquitto on a port of its own, with an empty memory."""
    with MosquittoBroker(mosquitto_path, tmp_path / "broker") as running:
        yield running


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    config = terminalreporter.config
    lines = table.lines_of((row.name, row.what) for row in ROWS)
    for report in [r for found in terminalreporter.stats.values() for r in found]:
        for name, value in getattr(report, "user_properties", ()):
            if name == PROPERTY and report.when == "call":
                row, faults, violations = value
                lines[row].runs += 1
                lines[row].faults += faults
                lines[row].violations += violations
    if not any(line.runs for line in lines.values()):
        return
    seed = config.option.promise_seed
    terminalreporter.section(f"the promise, {config.option.promise}, seed {seed}")
    for line in lines.values():
        terminalreporter.line(
            f"{line.name:30} {line.runs:3} runs {line.faults:4} faults {line.violations} violations"
        )
    if not config.option.write_table:
        return
    missing = [line.name for line in lines.values() if not line.runs]
    if missing:
        terminalreporter.line(f"{table.PAGE.name} is not written: no run of {missing}", red=True)
        return
    text = table.text_of(list(lines.values()), seed)
    table.PAGE.write_text(table.filled(table.PAGE.read_text(encoding="utf-8"), text), "utf-8")
    terminalreporter.line(f"{table.PAGE.name} is written")
