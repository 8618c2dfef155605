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
# Errors of `tianfu-node flash`

An error begins with its code, then what was found, then what to do. Made from
`boards/flash/errors.py`; to write it anew: `python -m tests.tools.errors_page --write`.

| code | what | why | what to do |
|---|---|---|---|
"""


def render() -> str:
    """Return the text of the page."""
    rows = (
        f"| {each.code} | {each.title} | {each.cause} | {_plain(each.action)} |\n"
        for each in FAULTS
    )
    return _HEAD + "".join(rows)


def _plain(text: str) -> str:
    return text.replace("|", "\\|")


def main(arguments: list[str]) -> int:
    """Run with the options of :mod:`tests.tools.page`; returns the exit code."""
    return page.run(arguments, PATH, render(), _COMMAND)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
