"""Write docs/errors.md from the table of errors: ``python -m tests.tools.errors_page --write``.

With ``--check`` nothing is written; the exit status is 1 if the page differs from the table.
"""

import sys
from typing import Final

from boards.flash.errors import FAULTS
from tests.paths import ROOT
from tests.tools import page

PATH: Final = ROOT / "docs" / "errors.md"
_COMMAND: Final = "python -m tests.tools.errors_page --write"
_HEAD: Final = """\
# Errors of `tianfu-node`

An error begins with its code, then what was found, then what to do. Made from
`boards/flash/faults`; to write it anew: `python -m tests.tools.errors_page --write`.
"""
#: By the first number of each: what its errors are about.
_SECTIONS: Final = {
    0: "Ports",
    10: "Bootloaders and programmers",
    20: "The board and what is to be written",
    30: "What was written",
    40: "This computer and the batch",
    50: "The node on its bus",
    60: "Updates",
    70: "On site",
}
_TABLE: Final = "| code | what | why | what to do |\n|---|---|---|---|\n"


def render() -> str:
    """Return the text of the page."""
    parts = [_HEAD]
    for first, title in _SECTIONS.items():
        rows = [
            f"| {each.code} | {each.title} | {each.cause} | {_plain(each.action)} |\n"
            for each in FAULTS
            if first <= each.number < first + 10
        ]
        if rows:
            parts.append(f"\n## {title}\n\n{_TABLE}{''.join(rows)}")
    return "".join(parts)


def _plain(text: str) -> str:
    return text.replace("|", "\\|")


def main(arguments: list[str]) -> int:
    """Run with the options of :mod:`tests.tools.page`; returns the exit code."""
    return page.run(arguments, PATH, render(), _COMMAND)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
