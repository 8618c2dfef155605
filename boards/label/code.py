"""The QR code of a label, as runs of dark modules that any of the drawings can fill."""

from collections.abc import Iterator
from typing import Final

from .errors import station_extra
from .label import Label

# A quarter of the code may be scratched away (level Q) and it still reads.
LEVEL: Final = "q"
QUIET: Final = 4  # modules around it, ISO/IEC 18004


def dark_runs(label: Label) -> tuple[int, list[tuple[int, int, int]]]:
    """Return the modules of a side with the quiet zone, and (column, row, length) of each run."""
    with station_extra():
        import segno
    code = segno.make_qr(label.text, error=LEVEL, boost_error=False)
    rows = [bytes(row) for row in code.matrix]
    runs = [
        (QUIET + column, QUIET + number, length)
        for number, row in enumerate(rows)
        for column, length in _runs(row)
    ]
    return len(rows) + 2 * QUIET, runs


def _runs(row: bytes) -> Iterator[tuple[int, int]]:
    at = 0
    while (start := row.find(1, at)) >= 0:
        end = row.find(0, start)
        at = len(row) if end < 0 else end
        yield start, at - start
