"""What a station did to which board, line by line: appended, never changed, on the disk at once.

:mod:`protocols.station_log` has the form of a line and the chain; the gateway reads it there.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from boards.errors import BoardError
from protocols.station_log import ChainError, StationChain, StationLine, read_chain


class StationLogError(BoardError):
    """A station log cannot be read or written, or a line of it was changed."""


def append(path: Path, fields: Mapping[str, object]) -> str:
    """Add a line, on the disk when this returns its hash; several stations may share a file.

    StationLogError, also for a file whose chain is broken: nothing is added to it.
    """
    try:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, 0o644), "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            before = file.read()
            prev = _checked(path, before).head
            now = datetime.now(UTC).isoformat(timespec="seconds")
            line = json.dumps({"prev": prev, "time": now, **fields}).encode()
            # Power may have been lost in the middle of the line before.
            begin = b"\n" if before and not before.endswith(b"\n") else b""
            file.write(begin + line + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StationLogError(f"{path}: cannot be written: {error.strerror}") from error
    return hashlib.sha256(line).hexdigest()


def entries(path: Path) -> list[StationLine]:
    """Return all lines; none if there is no such file. StationLogError."""
    return chain(path).lines if path.exists() else []


def chain(path: Path) -> StationChain:
    """Return the lines and the head of a log that is there. StationLogError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StationLogError(f"{path}: cannot be read: {error.strerror}") from error
    return _checked(path, content)


def _checked(path: Path, content: bytes) -> StationChain:
    try:
        return read_chain(content)
    except ChainError as error:
        raise StationLogError(
            f"{path}, {error}; keep the file, and name another one with --log"
        ) from error
