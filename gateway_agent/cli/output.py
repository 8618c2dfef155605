"""Where commands print tables."""

import sys
from typing import Final

from rich.console import Console

_UNLIMITED: Final = 10_000  # columns; a table is as wide as what it holds


def table_console() -> Console:
    """Return standard output as wide as the terminal; into a pipe or a file nothing is cut."""
    return Console(width=None if sys.stdout.isatty() else _UNLIMITED)
