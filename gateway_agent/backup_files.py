"""A backup is a folder: one database, and a file that names what it is and its SHA-256.

It is made beside its name and renamed when it is whole, so a folder with the right name is one.
"""

import hashlib
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct

from .directories import make_directory, replace_file, sync_directory
from .errors import OperatorError

MANIFEST: Final = "backup.json"
_CHUNK: Final = 1 << 20


class BackupError(OperatorError):
    """A backup cannot be made or used; the text says why and what to do."""


class BackupManifest(Struct, frozen=True, kw_only=True):
    """What a backup is of. ``last``: the newest record, or batch, that is in it."""

    version: int = 1
    kind: Literal["gateway", "collector"]
    name: str  # the gateway's id, or the id of the collector's database
    made: str  # UTC
    stream: int = 0  # of a gateway
    last: int
    file: str
    size: int
    sha256: str


def make(
    target: Path,
    kind: Literal["gateway", "collector"],
    write: Callable[[Path], tuple[str, int, int]],
) -> BackupManifest:
    """Make the folder ``target``. ``write`` writes the database to a path; returns name, stream
    and last. BackupError: it exists, or the medium refuses; nothing is left then.
    """
    if target.exists():
        raise BackupError(f"{target} exists: name a folder that does not, by the date for instance")
    partial = target.with_name(f"{target.name}.partial")
    file = partial / ("outbox.db" if kind == "gateway" else "collector.db")
    try:
        shutil.rmtree(partial, ignore_errors=True)  # of one that was interrupted
        make_directory(partial)
        name, stream, last = write(file)
        sha256, size = _digest(file)
        manifest = BackupManifest(
            kind=kind,
            name=name,
            made=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            stream=stream,
            last=last,
            file=file.name,
            size=size,
            sha256=sha256,
        )
        text = msgspec.json.format(msgspec.json.encode(manifest)) + b"\n"
        replace_file(partial / MANIFEST, text)
        partial.rename(target)
        sync_directory(target.parent)
    except BaseException as error:
        with suppress(OSError):
            shutil.rmtree(partial)
        if isinstance(error, OSError):
            raise BackupError(f"{target}: {error}: nothing was left there") from error
        raise
    return manifest


def read(folder: Path, kind: str) -> tuple[BackupManifest, Path]:
    """Return what a backup is of and its file, after its SHA-256 was compared. BackupError."""
    try:
        text = folder.joinpath(MANIFEST).read_bytes()
        manifest = msgspec.json.decode(text, type=BackupManifest)
        file = folder / Path(manifest.file).name
        found, size = _digest(file)
    except (OSError, ValueError) as error:
        raise BackupError(f"{folder}: expected a backup, got: {error}") from error
    if manifest.kind != kind or manifest.version != 1:
        raise BackupError(
            f"{folder}: expected a backup of a {kind} in version 1, got one of a {manifest.kind} in"
            f" version {manifest.version}"
        )
    if (found, size) != (manifest.sha256, manifest.size):
        raise BackupError(
            f"{file}: expected {manifest.size} bytes with SHA-256 {manifest.sha256}, got {size}"
            f" with {found}: it is damaged, use another backup"
        )
    return manifest, file


def copy_durably(source: Path, target: Path) -> None:
    """Copy a file in pieces; only its owner may read the copy, which is durable then. OSError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    with source.open("rb") as old, os.fdopen(os.open(target, flags, 0o600), "wb") as new:
        shutil.copyfileobj(old, new, _CHUNK)
        new.flush()
        os.fsync(new.fileno())
    sync_directory(target.parent)


def _digest(file: Path) -> tuple[str, int]:
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
        return found, stream.tell()
