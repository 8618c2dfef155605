"""Why a node that was just flashed is silent, as far as its other port shows it."""

from boards.errors import BoardError

from .errors import NO_NODE, STILL_IN_LOADER, FlashingError
from .methods.choice import loader_answers


def silence_of(error: FlashingError, way: str, port: str, baud: int) -> FlashingError:
    """Return the error of a proof, or the better one: its chip is in its bootloader still."""
    if error.fault is not NO_NODE:
        return error
    try:
        waits = loader_answers(way, port, baud)
    except BoardError:
        return error
    if not waits:
        return error
    return FlashingError(STILL_IN_LOADER, f"{port}: the bootloader answers; {error.what}")
