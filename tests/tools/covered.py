"""Print how much of the product the tests run: per package, and each file below the aim.

``tox run -e coverage`` measures and calls this with the report of ``coverage json``. A file below
the aim is a failure, unless it stands in the table ``tool.tianfu.coverage`` of pyproject.toml with
the reason why its lines run elsewhere. What CPython never runs is left out of the figures there
(``tool.coverage.run.omit``).
"""

import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from tests.paths import ROOT

AIM_PERCENT: Final = 90.0


class Summary(msgspec.Struct):
    """The figures of one file as coverage counts them."""

    covered_lines: int
    num_statements: int


class File(msgspec.Struct):
    """One file of the report."""

    summary: Summary
    missing_lines: list[int]


class Report(msgspec.Struct):
    """What ``coverage json`` writes, as far as it is used here."""

    files: dict[str, File]


def percent(covered: int, statements: int) -> float:
    """Return the share of the statements that ran; a file without any is covered."""
    return 100.0 * covered / statements if statements else 100.0


def ranges(lines: list[int]) -> str:
    """Return line numbers in short form: 3-5, 9."""
    spans: list[list[int]] = []
    for line in sorted(lines):
        if spans and line == spans[-1][1] + 1:
            spans[-1][1] = line
        else:
            spans.append([line, line])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)


def summary(report: Report, reasons: Mapping[str, str]) -> tuple[str, list[str]]:
    """Return the text to print, and what is wrong: files below the aim, reasons without need."""
    packages: dict[str, list[int]] = {}
    below: dict[str, float] = {}
    for path, file in report.files.items():
        figures = packages.setdefault(path.split("/")[0], [0, 0])
        figures[0] += file.summary.covered_lines
        figures[1] += file.summary.num_statements
        share = percent(file.summary.covered_lines, file.summary.num_statements)
        if share < AIM_PERCENT:
            below[path] = share
    rows = ["| package | statements | run | share |", "|---|---:|---:|---:|"]
    total = [sum(column) for column in zip(*packages.values(), strict=True)]
    for name, (covered, statements) in [*sorted(packages.items()), ("all", (total[0], total[1]))]:
        share = percent(covered, statements)
        rows.append(f"| {name} | {statements} | {covered} | {share:.1f} % |")
    for path, share in sorted(below.items(), key=lambda item: item[1]):
        why = reasons.get(path, "no reason stands in pyproject.toml")
        rows.append(f"{path}: {share:.1f} %, {why}")
        rows.append(f"    lines {ranges(report.files[path].missing_lines)}")
    wrong = [
        f"{path}: {share:.1f} % of its lines run, {AIM_PERCENT:.0f} % are the aim"
        for path, share in below.items()
        if path not in reasons
    ]
    wrong += [
        f"{path}: is at the aim or gone; take it out of tool.tianfu.coverage in pyproject.toml"
        for path in reasons
        if path not in below
    ]
    return "\n".join(rows), wrong


def main() -> None:
    """Print the summary of the report that is named; exit with 1 if something is wrong."""
    report = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Report)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    text, wrong = summary(report, project["tool"]["tianfu"]["coverage"])
    print(text)
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
