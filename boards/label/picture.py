"""A label as a PNG of 300 dots an inch, for any label printer and for the screen."""

from pathlib import Path
from typing import Final

from .code import dark_runs
from .errors import LabelError, station_extra
from .label import HEIGHT_MM, MARGIN_MM, QR_MM, WIDTH_MM, Label

_DPI: Final = 300
_DOTS: Final = _DPI / 25.4  # of a millimetre
_LINE_MM: Final = (6.0, 3.2, 3.2, 3.2, 3.2, 3.2)
_GAP_MM: Final = 1.3


def write_png(label: Label, path: Path) -> None:
    """Draw one label. LabelError if the file or the libraries cannot be used."""
    with station_extra():
        from PIL import Image, ImageDraw, ImageFont
    side, runs = dark_runs(label)
    module = round(QR_MM * _DOTS) // side  # whole dots: no edge is blurred
    picture = Image.new("1", (round(WIDTH_MM * _DOTS), round(HEIGHT_MM * _DOTS)), 1)
    pen = ImageDraw.Draw(picture)
    top = (picture.height - side * module) // 2
    for column, row, length in runs:
        x, y = column * module, top + row * module
        pen.rectangle((x, y, x + length * module - 1, y + module - 1), fill=0)
    below = MARGIN_MM * _DOTS
    for text, height in zip(label.lines, _LINE_MM, strict=True):
        pen.text(
            (side * module, below),
            text,
            fill=0,
            font=ImageFont.load_default(height * _DOTS),
            anchor="lt",
        )
        below += (height + _GAP_MM) * _DOTS
    try:
        picture.save(path, "PNG", dpi=(_DPI, _DPI))
    except OSError as error:
        raise LabelError(f"{path}: cannot be written: {error.strerror}") from error
