"""A lock keeps two agents from using one state directory."""

import fcntl
import os
from pathlib import Path
from typing import Final, Self

from gateway_agent.directories import make_directory

from .errors import StoreBusy, StoreFailed

LOCK_NAME: Final = "outbox.lock"
_BUSY: Final = "in use by another agent: stop that one, or give this one its own state_dir"


class Lock:
    """Lock a directory until :meth:`release`, the end of a ``with`` block or of the process.

    While it is held, any other file in the directory is left over from an earlier process.
    """

    def __init__(self, directory: Path, name: str = LOCK_NAME, busy: str = _BUSY) -> None:
        """Make the directory if there is none. StoreBusy if another process has it; StoreFailed.

        ``name``: of the file that is locked. ``busy``: who has it, and what to do.
        """
        try:
            make_directory(directory)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            self._descriptor: int | None = os.open(directory / name, flags, 0o600)
        except OSError as error:
            raise StoreFailed(f"{directory}: {error}") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.release()
            if not isinstance(error, BlockingIOError):
                raise StoreFailed(f"{directory}: {error}") from error
            raise StoreBusy(f"{directory} is {busy}") from None

    def release(self) -> None:
        """Release the lock for others."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
