"""The errors of the outbox, one class for each remedy.

::

    StoreError
    +-- StoreBusy      another process has this directory: stop that one, or use another directory
    +-- StoreNewer     a newer release wrote the outbox: install that one again
    +-- StoreFull      no space, no quota, no file descriptor, or the size limit: wait, and hold
    |                  back the pollers
    +-- StoreDamaged   what is read is not what was written: quarantine, salvage, go on
    +-- StoreFailed    a write or fsync failed: the page cache can no longer be trusted, so
    |                  acknowledge nothing more, exit, recover in a new process
    +-- ReceiptRefused a valid receipt that does not fit this outbox: open a new stream
"""

import errno
from typing import Final

from gateway_agent.errors import OperatorError
from protocols.exit_status import STORE_FAILED, UNUSABLE

# Of an agent that must be started again to recover.
EXIT_STORE_FAILED: Final = STORE_FAILED


class StoreError(Exception):
    """Root of the tree; raise one of its branches."""


class StoreBusy(StoreError, OperatorError):
    """The directory is locked by another process."""


class StoreNewer(StoreError, OperatorError):
    """A newer release wrote the outbox. Nothing was touched."""

    exit_status = UNUSABLE


class StoreFull(StoreError):
    """Nothing was written: the medium, a quota, the descriptors or the size limit has no room."""


class StoreDamaged(StoreError):
    """The stored bytes contradict their hashes, or SQLite cannot read them."""


class StoreFailed(StoreError):
    """A commit or fsync failed. Memory and page cache no longer show what is on the medium."""


class ReceiptRefused(StoreError):
    """The collector's signed receipt for our stream does not fit what this outbox holds.

    ``ahead``: the collector has records beyond our last (our medium was rolled back). Otherwise
    its head at ``to`` differs from ours (a copy of this outbox has written into the same stream).
    """

    def __init__(self, message: str, ahead: bool, to: int) -> None:
        super().__init__(message)
        self.ahead = ahead
        self.to = to


_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE})


def is_no_room(error: OSError) -> bool:
    """Return whether the same can succeed later, when others have made room."""
    return error.errno in _NO_ROOM


def file_error(where: object, error: OSError) -> StoreFull | StoreFailed:
    """Return the StoreError that an error of the file system at ``where`` stands for."""
    text = f"{where}: {error}"
    return StoreFull(text) if is_no_room(error) else StoreFailed(text)
