"""What signals do to a command that runs until it is stopped."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Final

log = logging.getLogger(__name__)

_HANGUP: Final = (
    "SIGHUP is ignored: the terminal was closed, or a program asked for a reload. Files are read"
    " at the start only: to apply a change, stop with SIGTERM and start again"
)


def stop_on_signal(stop: Callable[[], object]) -> None:
    """Call ``stop`` on SIGTERM and SIGINT, in the running loop; log SIGHUP and work on."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    loop.add_signal_handler(signal.SIGHUP, _hang_up)


def _hang_up() -> None:
    log.warning(_HANGUP)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            # The terminal is gone. What stays in the stream's buffer would make Python end with
            # the status of a failure, however clean the stop is.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
