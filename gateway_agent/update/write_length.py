"""Fits the writes of an update to their line: shorter while long ones are lost, then longer again.

The link shortens its packets in the same way (docs/link.md). What is measured is what became of the
writes of all nodes of a bus, for they share its line.
"""

from typing import Final

from protocols.wire.update.window import PART_BYTES, PARTS

_ENOUGH: Final = 3  # losses, before which nothing is concluded
_MANY: Final = 0.55  # of the writes lost: half as long ones cost less, with what they repeat
_CLEAN: Final = 16  # writes in a row that came, after which longer ones are tried
_NEWEST: Final = 32  # outcomes that count; older ones fade


class WriteLength:
    """The length in quarters of a block: PARTS, PARTS / 2 or 1, and at least ``shortest``."""

    def __init__(self, shortest: int = 1) -> None:
        self._shortest = shortest
        self.quarters = PARTS
        self._came = self._lost = 0.0
        self._row = 0  # that came, since the last loss

    @property
    def words(self) -> int:
        """Return how many registers a write has, without what stands before its data."""
        return self.quarters * PART_BYTES // 2

    @property
    def repeats(self) -> int:
        """Return how many times a piece is sent to all: nobody answers, and each loss costs all."""
        return PARTS // self.quarters

    def note(self, came: int, lost: int) -> None:
        """Note how many writes were taken, and of how many nothing was heard."""
        self._came += came
        self._lost += lost
        self._row = 0 if lost else self._row + came
        total = self._came + self._lost
        if self._lost >= _ENOUGH and self._lost > _MANY * total:
            self.quarters = max(self._shortest, self.quarters // 2)
            self._begin()
        elif self._row >= _CLEAN:
            self.quarters = min(PARTS, 2 * self.quarters)
            self._begin()
        elif total > _NEWEST:
            self._came /= 2
            self._lost /= 2

    def _begin(self) -> None:
        self._came = self._lost = 0.0
        self._row = 0
