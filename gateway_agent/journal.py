"""Where standard error leads to journald, each line begins with its priority (sd-daemon(3))."""

import logging
import os
from collections.abc import Mapping
from typing import Final

_PRIORITIES: Final[Mapping[int, int]] = {
    logging.DEBUG: 7,
    logging.INFO: 6,
    logging.WARNING: 4,
    logging.ERROR: 3,
    logging.CRITICAL: 2,
}
_NOTICE: Final = 5


def is_journal() -> bool:
    """Return whether standard error leads to journald (systemd.exec(5), JOURNAL_STREAM)."""
    named = os.environ.get("JOURNAL_STREAM", "")
    try:
        state = os.fstat(2)
    except OSError:
        return False
    return named == f"{state.st_dev}:{state.st_ino}"


def for_journal(text: str, level: int) -> str:
    """Return ``text`` with the priority of a level of logging before each line."""
    prefix = f"<{_PRIORITIES.get(level, _NOTICE)}>"
    return "\n".join(prefix + line for line in text.split("\n"))


def for_stderr(text: str, level: int) -> str:
    """Return ``text`` as it belongs on standard error."""
    return for_journal(text, level) if is_journal() else text
