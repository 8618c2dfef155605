"""Fill the tables of fields in docs/formats.md: ``python -m tests.tools.formats_page --write``.

A table stands behind a line ``<!-- fields: NAME -->`` and ends at the next empty line. With
``--check`` nothing is written; the exit status is 1 if a table differs from the product's own.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from protocols.uplink.batch_header import ANCHOR, BATCH_HEADER
from protocols.uplink.layout import FormatField
from protocols.uplink.order import ORDER, REPLY
from protocols.uplink.receipt import RECEIPT
from protocols.uplink.record_layout import (
    ACTION_FIELDS,
    EVENT,
    FAILURE,
    FILE_FIELDS,
    GAP_FIELDS,
    STAMP,
)
from tests.paths import ROOT
from tests.tools import page

PATH: Final = ROOT / "docs" / "formats.md"
_COMMAND: Final = "python -m tests.tools.formats_page --write"
_TABLE: Final = re.compile(r"(<!-- fields: ([\w-]+) -->\n)((?:\|.*\n)*)")

# name -> table and where each of its fields stands: a label of the map, or an index of an array
TABLES: Final[Mapping[str, tuple[Sequence[FormatField], Sequence[str]]]] = {
    "stamp": (STAMP.fields, ("`tf` 1", "`tf` 2", "`tf` 3", "`tf` 4", "-3 bt")),
    "failure": (FAILURE.fields, ("0 n", "3 vs")),
    "event": (EVENT.fields, ("`tf` 0", "3 vs", "`tf` 1", "6 t")),
    "gap": (GAP_FIELDS.fields, ("3 vs", *(f"`tf` {index}" for index in range(5, 12)))),
    "file": (FILE_FIELDS.fields, ("3 vs", *(f"`tf` {index}" for index in range(5, 11)))),
    "action": (ACTION_FIELDS.fields, ("3 vs", *(f"`tf` {index}" for index in range(5, 8)))),
    "batch": (BATCH_HEADER.fields, tuple(f"`tf` {index}" for index in range(10))),
    "anchor": (ANCHOR.fields, ("0", "1", "2", "3", "4")),
    "order": (ORDER.fields, tuple(str(index) for index in range(9))),
    "reply": (REPLY.fields, tuple(str(index) for index in range(6))),
    "receipt": (RECEIPT.fields, ("0", "1", "2", "3", "4")),
}


def table(name: str) -> str:
    """Return the table of this name, in Markdown."""
    fields, places = TABLES[name]
    rows = ["| where | field | holds | meaning |", "|---|---|---|---|"]
    rows += [
        f"| {place} | {field.name} | {_code(field.check.rule)} | {field.meaning} |"
        for place, field in zip(places, fields, strict=True)
    ]
    return "\n".join(rows) + "\n"


def _code(rule: str) -> str:
    # Characters that Markdown would take for emphasis or a tag.
    return re.sub(r"(A-Za-z0-9\S*?)(?=[,;]? |$)", r"`\1`", rule)


def filled(text: str) -> str:
    """Return the text of the page with every table as the product has it."""
    return _TABLE.sub(lambda found: found[1] + table(found[2]), text)


def main(arguments: list[str]) -> int:
    """Run with the options of :mod:`tests.tools.page`; returns the exit code."""
    return page.run(arguments, PATH, filled(PATH.read_text(encoding="utf-8")), _COMMAND)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
