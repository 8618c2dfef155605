"""The head file repeats where the chain ends, so that a database that lost its end is found.

SQLite cannot notice that the end of its write-ahead log is gone: a truncated log is a shorter log
and `integrity_check` finds no fault (measured: 299 of 300 bit flips in the log lost committed rows
silently). The head file is written after a commit, so it is never ahead of what is durable; a
database that ends before it has lost records.

One line of text: stream, last sequence number, head (hex), the first 16 hex digits of SHA-256
over what stands before. It is replaced as a whole: temporary file, fsync, rename, fsync of the
directory.

A release with a later schema of the outbox writes the number of the schema before all that, under
the check. So an older release knows by more than the header of the database, where a flipped bit
looks the same, that it may not touch the outbox.
"""

import hashlib
import logging
from pathlib import Path
from typing import Final, NamedTuple

from gateway_agent.clock import GatewayClock
from gateway_agent.directories import replace_file

from .database import SCHEMA_VERSION
from .errors import StoreDamaged, StoreFailed, StoreNewer, file_error

MAX_BYTES: Final = 256

log = logging.getLogger(__name__)


class ChainHead(NamedTuple):
    """``head`` (32 bytes) is the chain's head after record ``last`` of ``stream``."""

    stream: int
    last: int
    head: bytes


class HeadFile:
    """Keep the file at ``path`` at most ``lag_ms`` behind the last commit."""

    def __init__(self, path: Path, lag_ms: int, clock: GatewayClock) -> None:
        self.path = path
        self.behind = False  # a commit is newer than the file
        self._lag_ms = lag_ms
        self._clock = clock
        self._written_ms: int | None = None

    def follow(self, head: ChainHead) -> None:
        """Note a commit that ended at ``head``; write the file if it may lag no longer."""
        self.behind = True
        now = self._clock.boot_ms()
        if self._written_ms is None or now - self._written_ms >= self._lag_ms:
            self.write(head)

    def write(self, head: ChainHead) -> None:
        """Write the file now.

        No room is tolerated: the file stays behind, which is the safe side. After any other
        error fsync cannot be trusted: StoreFailed.
        """
        try:
            write(self.path, head)
        except OSError as error:
            reason = file_error(self.path, error)
            if isinstance(reason, StoreFailed):
                raise reason from error
            log.warning("%s: %s", self.path, error)
        else:
            self.behind = False
        self._written_ms = self._clock.boot_ms()


def write(path: Path, head: ChainHead) -> None:
    """Replace the file durably; OSError if the medium refuses."""
    body = f"{head.stream} {head.last} {head.head.hex()}"
    replace_file(path, f"{body} {_check(body)}\n".encode())


def read(path: Path) -> ChainHead | None:
    """Read the file; None if there is none, StoreDamaged if it is not what was written.

    StoreNewer: it is of a release with a later schema.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    try:
        *schema, stream, last, head, check = data.decode("ascii").split()
        version = int(schema[0]) if schema else SCHEMA_VERSION
        found = ChainHead(int(stream), int(last), bytes.fromhex(head))
    except ValueError as error:
        raise StoreDamaged(f"{path}: expected stream, last, head and check") from error
    body = " ".join((*schema, stream, last, head))
    if check != _check(body) or len(found.head) != 32:
        raise StoreDamaged(f"{path}: expected check {_check(body)}, got {check}")
    if version > SCHEMA_VERSION:
        raise StoreNewer(
            f"{path}: expected schema {SCHEMA_VERSION} of the outbox, got {version}: a newer"
            " release wrote it. Nothing was changed; install that release again"
        )
    return found


def _check(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()[:16]
