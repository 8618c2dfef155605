"""A timer finer than an event loop's own: epoll waits whole milliseconds, 12 bytes at 115200 baud.

The gateway's lines use it, and so does the emulated line of the bench.
"""

import asyncio
import ctypes
import os
from collections.abc import Callable
from typing import Final

_CLOCK_MONOTONIC: Final = 1
_SECOND_NS: Final = 1_000_000_000
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


class _Spec(ctypes.Structure):
    """``struct itimerspec``: interval and time to go, both as seconds and nanoseconds."""

    _fields_ = tuple((name, ctypes.c_long) for name in ("every_s", "every_ns", "in_s", "in_ns"))


class FineTimer:
    """Calls ``on_time`` from ``loop`` once for every :meth:`start`, unless started anew before.

    It uses Linux's timerfd, see timerfd_create(2). OSError if the kernel gives none.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, on_time: Callable[[], None]) -> None:
        self._loop = loop
        self._on_time = on_time
        self._file = _LIBC.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._file < 0:
            code = ctypes.get_errno()
            raise OSError(code, f"timerfd_create: {os.strerror(code)}")
        loop.add_reader(self._file, self._expired)

    def start(self, wait_ns: int) -> None:
        """Call in ``wait_ns`` from now (at least 1), in place of the call that was due before."""
        seconds, rest = divmod(max(1, wait_ns), _SECOND_NS)
        _LIBC.timerfd_settime(self._file, 0, ctypes.byref(_Spec(0, 0, seconds, rest)), None)

    def _expired(self) -> None:
        try:
            os.read(self._file, 8)
        except BlockingIOError:  # started anew in the same turn of the loop
            return
        self._on_time()

    def close(self) -> None:
        """Stop the timer for good; further calls do nothing."""
        if self._file >= 0:
            if not self._loop.is_closed():
                self._loop.remove_reader(self._file)
            os.close(self._file)
            self._file = -1
