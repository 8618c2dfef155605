"""Why a node that was just flashed is silent, as far as its other port shows it."""

from boards.errors import BoardError

from .an3155 import RomLoader
from .errors import NO_NODE, STILL_IN_LOADER, FlashingError
from .serial_port import FlashPort


def silence_of(error: FlashingError, port: str, baud: int) -> FlashingError:
    """Return the error of a proof, or the better one: its chip is in its bootloader still."""
    if error.fault is not NO_NODE:
        return error
    try:
        with FlashPort(port, baud) as opened:
            RomLoader(opened, wakes=1).connect()
    except BoardError:
        return error
    return FlashingError(STILL_IN_LOADER, f"{port}: the bootloader answers; {error.what}")
