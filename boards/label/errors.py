"""What can go wrong around a label, and the libraries that draw it."""

from collections.abc import Iterator
from contextlib import contextmanager

from boards.errors import BoardError


class LabelError(BoardError):
    """A label cannot be made or read; the text has what was expected, what came, the remedy."""


@contextmanager
def station_extra() -> Iterator[None]:
    """Import what draws labels in here; a gateway needs none of it. LabelError if it is missing."""
    try:
        yield
    except ImportError as error:
        raise LabelError(
            f"{error.name} is not installed, and labels need it; type: "
            "pip install 'tianfu-edge[station]'"
        ) from error
