"""Make directories and replace files so that a power cut leaves the old or the new, whole."""

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


def replace_file(path: Path, data: bytes) -> None:
    """Replace a file that its owner alone may read, or make it; durable when this returns.

    What root replaces keeps its owner. OSError: it has the old content or the new one, whole, and
    is not to be taken for durable.
    """
    temporary = path.with_suffix(".tmp")
    # On a medium of others it may be a link, to any file of ours.
    temporary.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
        if os.geteuid() == 0 and path.exists():
            owner = path.stat()
            os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
        file.write(data)  # all of it, or an error: os.write may write less on a full medium
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable. OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
