"""Which ways there are, by the names that board.toml uses."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from boards.errors import BoardError
from boards.flash.method import FlashMethod
from boards.flash.target import FlashTarget
from boards.usb_devices import usb_devices

from .dfu import DfuMethod, attached
from .swd import SwdMethod
from .uart import UartMethod, wakes

METHODS: Final[Mapping[str, type[UartMethod] | type[DfuMethod] | type[SwdMethod]]] = {
    kind.name: kind for kind in (UartMethod, DfuMethod, SwdMethod)
}


class Reachable(NamedTuple):
    """Where a board may be that is at no serial port: what names it, and what a person reads."""

    port: str
    text: str


def _on_usb() -> list[Reachable]:
    return [Reachable(each.path, f"{each.path} (serial {each.serial})") for each in attached()]


def _behind_probes() -> list[Reachable]:
    probes = [each for each in usb_devices() if f"({SwdMethod.name})" in each.what]
    return [
        Reachable(each.serial, f"{each.serial} ({each.what}, USB {each.place})") for each in probes
    ]


#: Where the ways without a serial port find boards.
PLACES: Final[Mapping[str, Callable[[], Sequence[Reachable]]]] = {
    DfuMethod.name: _on_usb,
    SwdMethod.name: _behind_probes,
}


def method_of(name: str, target: FlashTarget, port: str, baud: int) -> FlashMethod:
    """Return the way of this name to a board, not yet opened. BoardError names the ways."""
    kind = METHODS.get(name)
    if kind is None:
        raise BoardError(f"method: expected one of {', '.join(METHODS)}, got {name!r}")
    return kind(target, port, baud)


def loader_answers(name: str, port: str, baud: int) -> bool:
    """Return whether a board waits in its bootloader at ``port``, without a change. BoardError.

    A chip behind an ST-LINK needs no bootloader, so none waits there.
    """
    if name == DfuMethod.name:
        return any(port in ("", board.path) for board in attached())
    return name == UartMethod.name and wakes(port, baud)
