"""Where commands print tables."""

import sys
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.table import Table
from rich.text import Text

_UNLIMITED: Final = 10_000  # columns; a table is as wide as what it holds
_FLAT: Final = 16  # characters of a cell of one line, but where a column has a ratio


def table_console() -> Console:
    """Return standard output as wide as the terminal; into a pipe or a file nothing is cut."""
    return Console(width=None if sys.stdout.isatty() else _UNLIMITED)


@dataclass(frozen=True)
class Report:
    """A table with lines below it, which can be cut to the height of a screen.

    The lines stay whole. Rows become one line each; those at the end that still find no room are
    counted by state.
    """

    table: Callable[[int], Table]  # the table of the first rows, so many
    states: list[str]  # of each row
    lines: list[Text]
    fits: bool = False  # cut to the height of the screen

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the table and its lines, for Rich."""
        rows, height = len(self.states), options.size.height
        if self.fits and self._height(rows, console, options, flat=False) > height:
            few = range(1, min(rows, height) + 1)
            rows = bisect_right(few, height, key=lambda n: self._height(n, console, options))
            yield self._first(rows, flat=True)
        else:
            yield self._first(rows)

    def _first(self, rows: int, *, flat: bool = False) -> Group:
        table, rest = self.table(rows), Counter(self.states[rows:])
        if flat:
            table.box, table.expand = None, True
            for column in table.columns:
                column.no_wrap = True
                column.max_width = None if column.ratio else _FLAT
        if not rest:
            return Group(table, *self.lines)
        counts = ", ".join(f"{count} {state}" for state, count in rest.items())
        return Group(table, Text(f"and {rest.total()} more: {counts}"), *self.lines)

    def _height(
        self, rows: int, console: Console, options: ConsoleOptions, *, flat: bool = True
    ) -> int:
        return len(console.render_lines(self._first(rows, flat=flat), options, pad=False))
