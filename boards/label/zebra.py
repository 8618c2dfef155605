"""A label in ZPL II, the language of Zebra's label printers and of most others."""

from typing import Final

from .code import LEVEL
from .label import HEIGHT_MM, QR_MM, WIDTH_MM, Label

_DOTS: Final = 8  # of a millimetre: 203 dpi, the most common print head
_MAGNIFICATION: Final = 6  # dots of a module
_LINE_DOTS: Final = (48, 26, 26, 26, 26, 26)


def zpl(label: Label) -> str:
    """Return one label. The printer draws the code itself; no character of it is a command."""
    x, y = round(QR_MM) * _DOTS, 2 * _DOTS
    fields = [
        "^XA",
        f"^PW{round(WIDTH_MM) * _DOTS}^LL{round(HEIGHT_MM) * _DOTS}",
        # QA: error correction Q, the printer finds the mode that suits the text.
        f"^FO{4 * _DOTS},{4 * _DOTS}^BQN,2,{_MAGNIFICATION}^FD{LEVEL.upper()}A,{label.text}^FS",
    ]
    for text, height in zip(label.lines, _LINE_DOTS, strict=True):
        fields.append(f"^FO{x},{y}^A0N,{height},{height}^FD{text}^FS")
        y += height + 12
    return "\n".join([*fields, "^XZ", ""])
