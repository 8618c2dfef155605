"""Numbers that wrap at 32 bits (RFC 1982): sequence numbers, boot epochs, milliseconds."""

from typing import Final

WRAP: Final = 1 << 32
LAST: Final = WRAP - 1
_HALF: Final = 1 << 31


def ahead(new: int, old: int) -> int:
    """Return how far ``new`` is after ``old`` on a circle of 32 bits; negative if it is before."""
    return (new - old + _HALF) % WRAP - _HALF
