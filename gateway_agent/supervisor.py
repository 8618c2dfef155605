"""Report to the service manager: started, alive, stopping, and the state in a line (sd_notify(3)).

The watchdog is fed only while the service makes progress, so a process that hangs is started again.
Without NOTIFY_SOCKET in the environment nothing is done.
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, NamedTuple

log = logging.getLogger(__name__)

STARTING_S: Final = 1.0  # between two looks until the start is over
EXTEND_S: Final = 60  # a start may take so long from each look on
EVERY_S: Final = 10.0  # between two looks then, at most
_TEXT: Final = 300  # characters of the line of state


class ServiceState(NamedTuple):
    """What a service is like at one moment."""

    is_started: bool
    is_alive: bool  # False: only a new start may help
    text: str


class Supervisor:
    """The service manager of this process."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        # A leading @ stands for a name in the abstract space of Linux.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        micros = environment.get("WATCHDOG_USEC", "")
        is_ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.watchdog_s = int(micros) / 1e6 if micros.isdecimal() and is_ours else 0.0
        self._is_ready = False
        self._was_alive = True
        self._text = ""

    @contextmanager
    def following(self, state: Callable[[], ServiceState]) -> Iterator[None]:
        """Report ``state()`` while the block runs, in callbacks: there is no task to end."""
        if not self._address:
            yield
            return
        loop, timer = asyncio.get_running_loop(), None

        def turn() -> None:
            nonlocal timer
            self.report(state())
            pause = min(EVERY_S, self.watchdog_s / 3 or EVERY_S) if self._is_ready else STARTING_S
            timer = loop.call_later(pause, turn)

        turn()
        try:
            yield
        finally:
            if timer is not None:
                timer.cancel()

    def report(self, state: ServiceState) -> None:
        """Report one look at the service."""
        lines = []
        if not self._is_ready:
            self._is_ready = state.is_started
            lines.append("READY=1" if state.is_started else f"EXTEND_TIMEOUT_USEC={EXTEND_S}000000")
        if state.is_alive:
            lines.append("WATCHDOG=1")
        elif self._was_alive:
            log.critical("only a new start may help: %s", state.text)
        self._was_alive = state.is_alive
        text = " ".join(state.text.split())[:_TEXT]
        if text != self._text:
            self._text = text
            lines.append(f"STATUS={text}")
        self._send(lines)

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Report that the configuration is being changed while the block runs."""
        micros = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(["RELOADING=1", f"MONOTONIC_USEC={micros}"])
        try:
            yield
        finally:
            self._send(["READY=1"])

    def stopping(self) -> None:
        """Report that the stop has begun."""
        self._send(["STOPPING=1"])

    def _send(self, lines: list[str]) -> None:
        if not self._address or not lines:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                out.setblocking(False)
                out.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:  # the service works without its manager
            log.debug("%s: %s", self._address, error)
