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
    """Each byte pays for ``MOST_CHECKS`` of them, in the same way however the bytes come in."""

    def __init__(self) -> None:
        self._owed = 0  # checks of bytes behind the place where the reader looks now

    def passed(self, count: int) -> None:
        """Note that the reader looks behind ``count`` more bytes now."""
        self._owed = max(0, self._owed - MOST_CHECKS * count)

    def covers(self, count: int) -> bool:
        """Spend a check of the next ``count`` bytes; False: let go of that whole frame unchecked.

        Frames one behind the other are always covered.
        """
        if self._owed + count > MOST_CHECKS * count:
            return False
        self._owed += count
        return True
