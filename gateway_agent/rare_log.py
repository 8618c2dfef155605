"""Keep strangers from filling the journal: what is rejected is logged now and then, and counted."""

import logging
import re
import time
from collections.abc import Callable, Mapping
from typing import Final

REPEAT_S: Final = 60.0


class RareLog:
    """Log warnings of one kind at most once within REPEAT_S; each names how many were left out."""

    def __init__(
        self, log: logging.Logger, first: int = 1, now: Callable[[], float] = time.monotonic
    ) -> None:
        """Log the ``first`` warnings of each such time, by the clock ``now`` in seconds."""
        self._log = log
        self._first = first
        self._now = now
        self._begin = -REPEAT_S
        self._count = 0

    def warning(self, text: str) -> None:
        """Log ``text``, or count it."""
        now = self._now()
        if now - self._begin >= REPEAT_S:
            left_out = self._count - self._first
            if left_out > 0:
                text += f"; {left_out} more were rejected before it"
            self._begin, self._count = now, 0
        self._count += 1
        if self._count <= self._first:
            self._log.warning("%s", text)


_MOST_TEXTS: Final = 16


class ChangeLog:
    """Log each change of a state once: no text again that was the last one, or within REPEAT_S.

    Texts that differ only in numbers, as those that count attempts, are the same.
    """

    def __init__(
        self,
        log: logging.Logger,
        now: Callable[[], float] = time.monotonic,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        """``now``: a clock in seconds. ``extra``: of each record, as in logging."""
        self._log = log
        self._now = now
        self._extra = extra
        self._last = ""
        self._at: dict[str, float] = {}

    def warning(self, text: str) -> None:
        """Log a text, unless the operator has read it."""
        key, now = re.sub(r"\d+", "#", text), self._now()
        if key == self._last or now - self._at.get(key, -REPEAT_S) < REPEAT_S:
            return
        if len(self._at) >= _MOST_TEXTS:
            self._at.clear()
        self._last, self._at[key] = key, now
        self._log.warning("%s", text, extra=self._extra)
