"""The witness: a second small file that knows how far the chain had got.

SQLite cannot notice that the end of its write-ahead log is gone: a truncated log is a shorter log
and `integrity_check` is content (measured: 299 of 300 bit flips in the log lost committed rows
silently). The witness is written after a commit, so it is never ahead of what is durable; a
database that ends before it has lost records.

One line of text: stream, last sequence number, head (hex), the first 16 hex digits of SHA-256
over what stands before. It is replaced as a whole: temporary file, fsync, rename, fsync of the
directory.
"""

import hashlib
import os
from pathlib import Path
from typing import Final, NamedTuple

from .errors import StoreDamaged

MAX_BYTES: Final = 256


class Witness(NamedTuple):
    """``head`` (32 bytes) is the chain's head after record ``last`` of ``stream``."""

    stream: int
    last: int
    head: bytes


def _check(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()[:16]


def write(path: Path, witness: Witness) -> None:
    """Replace the file durably; OSError if the medium does not let us."""
    body = f"{witness.stream} {witness.last} {witness.head.hex()}"
    temporary = path.with_suffix(".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, f"{body} {_check(body)}\n".encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.replace(path)
    sync_directory(path.parent)


def read(path: Path) -> Witness | None:
    """What the file says, None if there is none, StoreDamaged if it is not what was written."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    try:
        stream, last, head, check = data.decode("ascii").split()
        witness = Witness(int(stream), int(last), bytes.fromhex(head))
    except ValueError as error:
        raise StoreDamaged(f"{path}: expected stream, last, head and check") from error
    body = f"{stream} {last} {head}"
    if check != _check(body) or len(witness.head) != 32:
        raise StoreDamaged(f"{path}: expected check {_check(body)}, got {check}")
    return witness


def sync_directory(directory: Path) -> None:
    """Make renames and new names in ``directory`` durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
