"""How many bytes a reader may put through a checksum, so that a flood costs what its length costs.

A reader that looks behind the start of a frame that failed may find the next start one byte later,
again of a frame of some kilobytes: whoever sends nothing but starts would have each byte checked a
hundred times and more. Damage on a line makes two or three frames of one at most.
"""

from typing import Final

#: How often a byte is put through a checksum, on average over what came.
MOST_CHECKS: Final = 4
#: What an error says was expected, where a frame is let go of unchecked.
FEW_DAMAGED: Final = f"at most {MOST_CHECKS} damaged frames within one another"


class CheckBudget:
    """Each byte that comes pays for ``MOST_CHECKS`` of them; what is unused goes with its bytes."""

    def __init__(self) -> None:
        self._left = 0

    def came(self, count: int, held: int) -> None:
        """Note that ``count`` bytes came, the last of ``held`` that the reader holds now."""
        self._left = min(self._left + MOST_CHECKS * count, MOST_CHECKS * held)

    def covers(self, count: int) -> bool:
        """Spend ``count`` bytes; False: too many, let go of the whole frame unchecked.

        Frames one behind the other are always covered, however they come in.
        """
        if count > self._left:
            return False
        self._left -= count
        return True
