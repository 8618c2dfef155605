"""What readers of frames in a stream share: what they hold, and how often they check it.

A reader that looks behind the start of a frame that failed may find the next start one byte later,
again of a frame of some kilobytes: whoever sends nothing but starts would have each byte checked a
hundred times and more. Damage on a line makes two or three frames of one at most.
"""

from abc import ABC, abstractmethod
from typing import Final, Generic, TypeVar

F_co = TypeVar("F_co", covariant=True)

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


class ResyncReader(ABC, Generic[F_co]):
    """Cuts a stream of bytes into frames; out of step, it looks for the next start.

    Give it what came with :meth:`feed`, then call :meth:`next_frame` until it returns None. It
    holds one frame at most and what came behind it.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._budget = CheckBudget()
        self.noise_bytes = 0
        """Bytes outside of frames so far."""

    def feed(self, data: bytes) -> None:
        """Take bytes in. They are held until :meth:`next_frame` has gone through them."""
        self._buffer += data

    @abstractmethod
    def next_frame(self) -> F_co | None:
        """Return the next frame; None: more bytes are needed.

        FormatError: what looked like a frame is none; the call after it goes on behind its start,
        because the length in it may be what is wrong.
        """

    def _take(self, count: int) -> None:
        """Let go of what was read."""
        self._budget.passed(count)
        del self._buffer[:count]

    def _drop(self, count: int) -> None:
        """Let go of what is no frame."""
        self.noise_bytes += count
        self._take(count)
