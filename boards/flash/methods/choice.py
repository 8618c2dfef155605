"""Which ways there are, by the names that board.toml uses."""

from boards.errors import BoardError
from boards.flash.method import FlashMethod
from boards.flash.target import FlashTarget

from .uart import UartMethod

METHODS: dict[str, type[UartMethod]] = {UartMethod.name: UartMethod}


def method_of(name: str, target: FlashTarget, port: str, baud: int) -> FlashMethod:
    """Return the way of this name to a board, not yet opened. BoardError names the ways."""
    kind = METHODS.get(name)
    if kind is None:
        raise BoardError(f"method: expected one of {', '.join(METHODS)}, got {name!r}")
    return kind(target, port, baud)
