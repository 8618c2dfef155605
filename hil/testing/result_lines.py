"""One JSON object for each finished test: what reports and progress are made of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

_TAIL: Final = 4000


class ResultLines:
    """Appends one JSON object for each finished test: what reports and progress are made of."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._parts: dict[str, list[pytest.TestReport]] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("", encoding="utf-8")

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Write how many tests there are, where this process has collected them."""
        self._write({"total": len(session.items)})

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect the parts of one test; write it when its last part is there."""
        parts = self._parts.setdefault(report.nodeid, [])
        parts.append(report)
        if report.when == "teardown":
            del self._parts[report.nodeid]
            self._write(result_of(parts))

    def _write(self, fields: dict[str, object]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(fields) + "\n")


def result_of(parts: Sequence[pytest.TestReport]) -> dict[str, object]:
    """Return one test as plain values: id, outcome, reason, seconds, and its properties."""
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
