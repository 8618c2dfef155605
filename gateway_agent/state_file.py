"""Read and replace the small JSON files of the state directory, of which none may stop the agent.

A file that is damaged is set aside beside itself and named once; the agent goes on as without it.
"""

import logging
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from .directories import replace_file

T = TypeVar("T")

log: Final = logging.getLogger(__name__)

MAX_BYTES: Final = 16 << 20  # no such file has as many; a configuration of 4 MiB is the longest
DAMAGED: Final = ".damaged"  # behind the name of a file that was set aside


def read_state(path: Path, kind: type[T], loss: str) -> T | None:
    """Return what a file holds; None: there is none, or what it has is no ``kind``.

    ``loss``: what that costs, for the log.
    """
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(MAX_BYTES), type=kind)
    except FileNotFoundError:
        return None
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    except ValueError as error:  # msgspec's own, and UnicodeDecodeError inside a text
        problem = f"is damaged, see {path.name}{DAMAGED}: {error}"
        with suppress(OSError):  # a medium that takes nothing: it is named at the next start too
            path.replace(path.with_name(path.name + DAMAGED))
    log.error("%s %s; %s", path, problem, loss)
    return None


def write_state(path: Path, found: object) -> None:
    """Replace a file, or make it; durable when this returns. OSError."""
    replace_file(path, msgspec.json.encode(found))
