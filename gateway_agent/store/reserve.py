"""Set room aside on the medium, so that a full disk cannot keep a receipt from freeing space."""

import errno
import logging
import os
from pathlib import Path
from typing import Final

from gateway_agent.clock import GatewayClock

from .database import LOG_BYTES

log = logging.getLogger(__name__)

RESERVE_BYTES: Final = 1 << 20  # many times what deleting a batch puts into the log
RETRY_MS: Final = 10_000


class Reserve:
    """Keep a file of RESERVE_BYTES allocated bytes at ``path``, as long as there is room for it."""

    def __init__(self, path: Path, clock: GatewayClock) -> None:
        self._path = path
        self._clock = clock
        self._due = 0  # boot ms
        self._is_kept = False

    def keep(self, at_once: bool = False) -> bool:
        """Make the file if it is not there; return whether it is.

        Cheap, and tried every RETRY_MS at most, or ``at_once``. It leaves room for the log.
        """
        now = self._clock.boot_ms()
        if now < self._due and not at_once:
            return self._is_kept
        self._due = now + RETRY_MS
        self._is_kept = self._path.exists() or self._make()
        return self._is_kept

    def _make(self) -> bool:
        try:
            space = os.statvfs(self._path.parent)
            if space.f_bavail * space.f_frsize < RESERVE_BYTES + LOG_BYTES:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            descriptor = os.open(
                self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600
            )
            try:
                os.posix_fallocate(descriptor, 0, RESERVE_BYTES)
            finally:
                os.close(descriptor)
        except OSError as error:
            self._path.unlink(missing_ok=True)
            log.info("no reserve of %d bytes yet: %s", RESERVE_BYTES, error)
            return False
        return True

    def give(self) -> None:
        """Give the room back to the file system, now."""
        self._is_kept = False
        self._path.unlink(missing_ok=True)
