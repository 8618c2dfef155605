"""Labels as a PDF for a sheet of 24 on A4 (70 x 37 mm), which any printer can print.

The same labels give the same bytes: nothing of the time or the computer is in the file.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from .code import dark_runs
from .errors import LabelError, station_extra
from .label import HEIGHT_MM, MARGIN_MM, QR_MM, WIDTH_MM, Label

COLUMNS: Final = 3
ROWS: Final = 8
PER_PAGE: Final = COLUMNS * ROWS

_MM: Final = 72 / 25.4  # in points
_PAGE_MM: Final = (210.0, 297.0)
_TOP_MM: Final = (_PAGE_MM[1] - ROWS * HEIGHT_MM) / 2
_LINE_PT: Final = (16.0, 9.0, 9.0, 9.0, 9.0, 9.0)


class _Path(Protocol):
    """What is used of reportlab's path; the library has no types."""

    def rect(self, x: float, y: float, width: float, height: float) -> None: ...


class _Canvas(Protocol):
    """What is used of reportlab's canvas."""

    def setTitle(self, title: str) -> None: ...  # noqa: N802 # reportlab's names
    def showPage(self) -> None: ...  # noqa: N802
    def saveState(self) -> None: ...  # noqa: N802
    def restoreState(self) -> None: ...  # noqa: N802
    def translate(self, dx: float, dy: float) -> None: ...
    def beginPath(self) -> _Path: ...  # noqa: N802
    def drawPath(self, path: _Path, stroke: int, fill: int) -> None: ...  # noqa: N802
    def setFont(self, name: str, size: float) -> None: ...  # noqa: N802
    def drawString(self, x: float, y: float, text: str) -> None: ...  # noqa: N802
    def save(self) -> None: ...


def write_sheet(labels: Sequence[Label], path: Path, used: int = 0) -> None:
    """Draw labels onto as many pages as they need; ``used`` places of the first one stay empty.

    LabelError if there are no labels, or the file or the libraries cannot be used.
    """
    if not labels or not 0 <= used < PER_PAGE:
        raise LabelError(
            f"{path}: expected at least one label and 0 to {PER_PAGE - 1} used places of the "
            f"sheet, got {len(labels)} and {used}"
        )
    page = (_PAGE_MM[0] * _MM, _PAGE_MM[1] * _MM)
    with station_extra():
        from reportlab.pdfgen.canvas import Canvas
    canvas: _Canvas = Canvas(str(path), pagesize=page, invariant=1)
    canvas.setTitle("Labels of proven nodes")
    for number, label in enumerate(labels, used):
        if number != used and number % PER_PAGE == 0:
            canvas.showPage()
        row, column = divmod(number % PER_PAGE, COLUMNS)
        canvas.saveState()
        canvas.translate(column * WIDTH_MM * _MM, page[1] - (_TOP_MM + row * HEIGHT_MM) * _MM)
        _draw(canvas, label)
        canvas.restoreState()
    try:
        canvas.save()
    except OSError as error:
        raise LabelError(f"{path}: cannot be written: {error.strerror}") from error


def _draw(canvas: _Canvas, label: Label) -> None:
    """Draw a label below and right of the origin."""
    side, runs = dark_runs(label)
    module = QR_MM * _MM / side
    top = (QR_MM - HEIGHT_MM) / 2 * _MM
    path = canvas.beginPath()  # one path: no seams between the modules of a column
    for column, row, length in runs:
        path.rect(column * module, top - (row + 1) * module, length * module, module)
    canvas.drawPath(path, stroke=0, fill=1)
    y = -MARGIN_MM * _MM
    for text, size in zip(label.lines, _LINE_PT, strict=True):
        y -= 1.25 * size
        canvas.setFont("Helvetica-Bold" if size > _LINE_PT[-1] else "Helvetica", size)
        canvas.drawString((QR_MM + MARGIN_MM / 2) * _MM, y, text)
