"""The rows of the table, in its order."""

from collections.abc import Sequence
from typing import Final

from . import clocks, damage, disk, power, processes, syscalls
from .trial import Row

ROWS: Final[Sequence[Row]] = (
    *processes.ROWS,
    *clocks.ROWS,
    *power.ROWS,
    *disk.ROWS,
    *damage.ROWS,
    *syscalls.ROWS,
)
