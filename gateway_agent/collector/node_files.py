"""Puts together the files that nodes handed over, in a folder beside the database.

A file is named by its SHA-256. Its parts are written before the batch that brought them is
committed, so a receipt never covers a part that is not on the medium; a batch that comes again
writes the same bytes again. Until all are there the file's name ends in ``.part``.
"""

import hashlib
import os
from pathlib import Path
from typing import Final

from gateway_agent.directories import make_directory
from protocols.uplink import FilePart

_SUFFIX: Final = {"picture": ".jpg", "log": ".txt", "fault": ".json"}


def file_name(part: FilePart) -> str:
    """Return the name of a whole file."""
    return part.sha256.hex() + _SUFFIX[part.file]


class NodeFiles:
    """The folder of files. An OSError is one of the medium."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def keep(self, part: FilePart) -> None:
        """Write a part; with the last one missing the file gets its own name."""
        whole = self._directory / file_name(part)
        if whole.exists():
            return
        make_directory(self._directory)
        partial = whole.with_suffix(".part")
        number = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(number, "r+b") as file:
            file.seek(part.offset)
            file.write(part.data)
            file.flush()
            os.fsync(file.fileno())
            if os.fstat(file.fileno()).st_size != part.size:
                return
            file.seek(0)
            if hashlib.sha256(file.read()).digest() != part.sha256:
                return  # a part in the middle has still to come
        partial.rename(whole)
        folder = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
