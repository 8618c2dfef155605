"""What a station did to which board, line by line; each line holds the hash of the one before.

A line is a JSON object with ``prev``, the SHA-256 of the line before (64 zeros in the first), and
``time``. It holds no secret: of a key it has the id. Nobody changes or removes a line without
breaking the chain behind it; lines cut off at the end are not noticed by the file alone.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from boards.errors import BoardError

FIRST: Final = "0" * 64


class StationLogError(BoardError):
    """A station log cannot be read or written, or a line of it was changed."""


def append(path: Path, fields: Mapping[str, object]) -> None:
    """Add a line, on the disk when this returns; several stations may share a file.

    StationLogError, also for a file whose chain is broken: nothing is added to it.
    """
    try:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, 0o644), "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            before = file.read()
            prev = _checked(path, before)[1]
            now = datetime.now(UTC).isoformat(timespec="seconds")
            line = json.dumps({"prev": prev, "time": now, **fields}) + "\n"
            if before and not before.endswith(b"\n"):
                line = "\n" + line  # power was lost in the middle of a line
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StationLogError(f"{path}: cannot be written: {error.strerror}") from error


def entries(path: Path) -> list[dict[str, object]]:
    """Return all lines; none if there is no such file. StationLogError."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StationLogError(f"{path}: cannot be read: {error.strerror}") from error
    return _checked(path, content)[0]


def _checked(path: Path, content: bytes) -> tuple[list[dict[str, object]], str]:
    """Return the lines and the hash of the last one. A last line that was cut off is left out."""
    found: list[dict[str, object]] = []
    prev = FIRST
    for number, line in enumerate(content.split(b"\n"), 1):
        if not line:
            continue
        try:
            fields = json.loads(line)
        except ValueError:
            # Cut off by a power cut. A whole line that was garbled breaks the chain at the next.
            continue
        if not isinstance(fields, dict) or fields.get("prev") != prev:
            raise StationLogError(
                f"{path}, line {number}: expected a line with the hash of the line before "
                f"({prev[:16]}...), got {line[:80]!r}: a line was changed or removed; keep the "
                "file, and name another one with --log"
            )
        found.append(fields)
        prev = hashlib.sha256(line).hexdigest()
    return found, prev
