"""What is stuck on a board: made only of what a proven board has shown, and checked by a scan."""

from .identity import LabelIdentity, check_characters, read_back
from .label import Label, LabelError
from .picture import write_png
from .sheet import write_sheet
from .zebra import zpl

__all__ = [
    "Label",
    "LabelError",
    "LabelIdentity",
    "check_characters",
    "read_back",
    "write_png",
    "write_sheet",
    "zpl",
]
