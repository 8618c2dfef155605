"""Which ways there are, by the names that board.toml uses."""

from collections.abc import Mapping
from typing import Final

from boards.errors import BoardError
from boards.flash.method import FlashMethod
from boards.flash.target import FlashTarget

from .dfu import DfuMethod
from .swd import SwdMethod
from .uart import UartMethod

METHODS: Final[Mapping[str, type[UartMethod] | type[DfuMethod] | type[SwdMethod]]] = {
    kind.name: kind for kind in (UartMethod, DfuMethod, SwdMethod)
}


def method_of(name: str, target: FlashTarget, port: str, baud: int) -> FlashMethod:
    """Return the way of this name to a board, not yet opened. BoardError names the ways."""
    kind = METHODS.get(name)
    if kind is None:
        raise BoardError(f"method: expected one of {', '.join(METHODS)}, got {name!r}")
    return kind(target, port, baud)
