"""How a process of ours behaves towards its system: files it makes, log lines, signals, status.

Nothing of the command line's libraries is imported here: a service does without them.
"""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Final, TypeAlias

from gateway_agent.errors import OperatorError
from gateway_agent.hard_stop import HardStop
from gateway_agent.journal import JournalHandler, for_journal, is_journal
from gateway_agent.open_files import REMEDY, check_open_files, is_too_many_open_files
from protocols.exit_status import FAULT
from protocols.text_of_others import printable

log = logging.getLogger(__name__)

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


class JournalFormatter(LineFormatter):
    """Begin each line with its priority; the journal has the time itself."""

    def __init__(self) -> None:
        super().__init__("%(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines of one record."""
        return for_journal(super().format(record), record.levelno)


def set_up(verbose: int = 0) -> None:
    """Set the umask and where log lines go. ``verbose``: 1 for more of them, 2 for all.

    OperatorError: the process may open too few files.
    """
    check_open_files()
    levels = (logging.WARNING, logging.INFO, logging.DEBUG)
    # Whatever the caller's umask: nobody else may write what a command makes.
    os.umask(os.umask(0o077) | 0o022)
    handler: logging.Handler
    if is_journal():
        handler = JournalHandler(JournalFormatter(), LineFormatter("%(name)s: %(message)s"))
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(LineFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=levels[min(verbose, 2)], handlers=[handler])


def end_of(error: Exception) -> tuple[str, int] | None:
    """Return text and exit status of an error that a person can mend; None: it is a bug."""
    if isinstance(error, OperatorError):
        return str(error), error.exit_status
    if isinstance(error, OSError) and is_too_many_open_files(error):
        return f"{error}: {REMEDY}", FAULT
    return None


_HANGUP: Final = (
    "SIGHUP is ignored: the terminal was closed, or a program asked for a reload. Files are read"
    " at the start only: to apply a change, stop with SIGTERM and start again"
)


def stop_on_signal(
    stop: Callable[[], object],
    secure: Callable[[float], None] | None = None,
    reload: Callable[[], object] | None = None,
) -> None:
    """Call ``stop`` on SIGTERM and SIGINT, in the running loop, and ``reload`` on SIGHUP.

    Without ``reload`` SIGHUP is logged. ``secure``: as for :class:`HardStop`, which ends the
    process if the stop does not.
    """
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    HardStop(secure).arm(signal.SIGTERM, signal.SIGINT)
    loop.add_signal_handler(signal.SIGHUP, _hang_up, reload)


def _hang_up(reload: Callable[[], object] | None) -> None:
    if reload is None:
        log.warning(_HANGUP)
    else:
        log.warning("SIGHUP: the configuration is read again")
        reload()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            # The terminal is gone. What stays in the stream's buffer would make Python end with
            # the status of a failure, however clean the stop is.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
