"""Counts the outcomes of a run by row, and writes them into docs/reliability.md."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from tests.paths import ROOT

PAGE: Final = ROOT / "docs" / "reliability.md"
_TABLE: Final = re.compile(r"(<!-- promise: the table -->\n)(?:\|.*\n)*")
_HEAD: Final = (
    "| row | what happens | runs | faults | violations | seed |\n|---|---|---|---|---|---|\n"
)


@dataclass
class Line:
    """The outcome of one row."""

    name: str
    what: str
    runs: int = 0
    faults: int = 0
    violations: int = 0


def lines_of(rows: Iterable[tuple[str, str]]) -> dict[str, Line]:
    """Return an empty line for each row, given as its name and what happens."""
    return {name: Line(name, what) for name, what in rows}


def text_of(lines: Sequence[Line], seed: str) -> str:
    """Return the table in Markdown."""
    rows = [(line.name, line.what, line.runs, line.faults, line.violations, seed) for line in lines]
    return _HEAD + "".join(f"| {' | '.join(map(str, row))} |\n" for row in rows)


def filled(page: str, table: str) -> str:
    """Return the page's text with the table in its place."""
    return _TABLE.sub(lambda found: found[1] + table, page)


def names_on(page: str) -> list[str]:
    """Return the names of the rows on a page."""
    found = _TABLE.search(page)
    assert found is not None, f"{PAGE}: expected a line <!-- promise: the table -->"
    return [line.split("|")[1].strip() for line in found[0].splitlines()[3:]]
