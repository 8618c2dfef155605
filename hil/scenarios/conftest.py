"""Prints at the end of a run what it covered: states of the flash, polls of the bus."""

import pytest

#: Names of the record properties that are counted: "flash states: configuration write".
PREFIX = "flash states: "
#: Names of those that are shown as they are: "bus: clean".
BUS = "bus: "


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print a line for each, if there were any; it comes from the tests' record properties."""
    for status in ("passed", "failed", "skipped"):
        for report in terminalreporter.stats.get(status, []):
            for name, value in getattr(report, "user_properties", ()):
                if name.startswith(BUS) and report.when == "call":
                    terminalreporter.line(f"{name}: {value}")
    counts: dict[str, int] = {}
    for report in terminalreporter.stats.get("passed", []):
        for name, value in getattr(report, "user_properties", ()):
            if name.startswith(PREFIX) and isinstance(value, int) and report.when == "call":
                counts[name.removeprefix(PREFIX)] = value
    if counts:
        parts = ", ".join(f"{name} {count}" for name, count in counts.items())
        total = sum(counts.values())
        terminalreporter.line(f"flash states booted, exhaustively: {total} ({parts})")
