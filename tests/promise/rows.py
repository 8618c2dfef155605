"""The rows of the table, in its order."""

from collections.abc import Sequence
from typing import Final

from . import damage, disk, processes, syscalls
from .trial import Row

ROWS: Final[Sequence[Row]] = (*processes.ROWS, *disk.ROWS, *damage.ROWS, *syscalls.ROWS)
