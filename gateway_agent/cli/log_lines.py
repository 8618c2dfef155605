"""How the commands write log lines: each message on one line, whoever wrote the text in it."""

import logging
from types import TracebackType
from typing import TypeAlias

from protocols.uplink import printable

_ExceptionInfo: TypeAlias = (
    tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
)


class LineFormatter(logging.Formatter):
    """Escape what could begin a line of its own, move the cursor or command a terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        record.message = printable(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: _ExceptionInfo) -> str:  # noqa: N802 - logging's name
        # Indented: the text of an exception may have lines, too.
        return "\n".join("  " + printable(line) for line in super().formatException(ei).split("\n"))
