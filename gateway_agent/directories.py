"""Make directories that are there after a power cut: each new name is synced into its parent."""

import os
from pathlib import Path


def make_directory(path: Path, mode: int = 0o700) -> None:
    """Make ``path`` and what is missing above it; ``mode`` is for those made now. OSError.

    mkdir puts a name into a directory. Until that directory is synced, a power cut may take the
    name away again, with everything that was synced below it.
    """
    if path.is_dir():
        return
    make_directory(path.parent, mode)
    path.mkdir(mode=mode, exist_ok=True)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable. OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
