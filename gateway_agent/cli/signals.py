"""What signals do to a command that runs until it is stopped."""

import asyncio
import logging
import signal
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
    loop.add_signal_handler(signal.SIGHUP, log.warning, _HANGUP)
