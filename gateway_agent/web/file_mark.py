"""Tells whether a file is another one than at the last look."""

from pathlib import Path
from typing import NamedTuple


class FileMark(NamedTuple):
    """What changes when a file is written, replaced, or given another owner or mode."""

    changed_ns: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> "FileMark | None":
        """Return the mark of a file as it is now; None if it cannot be seen."""
        try:
            found = path.stat()
        except OSError:
            return None
        return cls(found.st_ctime_ns, found.st_ino)
