"""The results of a run as the plugin writes them, one JSON line each (``--hil-results``)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from hil.testing.speed import HOST, VIRTUAL


@dataclass(frozen=True, slots=True)
class FinishedTest:
    """One test. ``seconds`` include set-up and tear-down; ``folder`` None: it left nothing.

    ``virtual_s`` of the boards' time passed in ``virtual_host_s`` of the host's; 0 where the boards
    have no time of their own.
    """

    id: str
    outcome: str
    reason: str
    seconds: float
    engine: str
    seed: int
    repeat: str
    text: str = ""
    folder: Path | None = None
    virtual_s: float = 0.0
    virtual_host_s: float = 0.0

    @property
    def title(self) -> str:
        """Return suite and test in words: ``boot: first valid answer [qemu]``."""
        path, _, name = self.id.partition("::")
        suite = Path(path).stem.removeprefix("test_").replace("_", " ")
        name, bracket, parameters = name.removeprefix("test_").partition("[")
        return f"{suite}: {name.replace('_', ' ')}" + (f" [{parameters}" if bracket else "")


@dataclass(slots=True)
class Results:
    """All tests of a run; ``total`` is how many were collected, 0 while that is not known."""

    total: int = 0
    tests: list[FinishedTest] = field(default_factory=list)


def read_results(path: Path) -> Results:
    """Return what is in the file so far, without a last line that is not whole yet."""
    results = Results()
    if not path.exists():
        return results
    text = path.read_text(encoding="utf-8")
    for line in text[: text.rfind("\n") + 1].splitlines():
        fields = json.loads(line)
        if "total" in fields:
            results.total = max(results.total, int(fields["total"]))
            continue
        folder = fields.get("folder")
        results.tests.append(
            FinishedTest(
                id=str(fields["id"]),
                outcome=str(fields["outcome"]),
                reason=str(fields["reason"]),
                seconds=float(fields["seconds"]),
                engine=str(fields.get("engine", "")),
                seed=int(fields.get("seed", 0)),
                repeat=str(fields.get("repeat", "")),
                text=str(fields.get("text", "")),
                folder=Path(folder) if folder else None,
                virtual_s=float(fields.get(VIRTUAL, 0)),
                virtual_host_s=float(fields.get(HOST, 0)),
            )
        )
    return results
