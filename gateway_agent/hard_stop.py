"""A stop always ends: what hangs in one is named, and the process ends without it.

Supervisors wait for the end, and a process that survives its stop holds the lock of its directory.
The event loop may be what hangs, so signals and the limit are handled outside of it.
"""

import asyncio
import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Final

from gateway_agent.journal import for_stderr
from protocols.exit_status import FAULT

LIMIT_S: Final = 9.0  # a clean stop of the agent takes 8.5 s at most, and the commit under way
SECURE_S: Final = 0.9  # for that commit, beyond the limit
_NAMED: Final = 8  # tasks; the others are counted


class HardStop:
    """End the process ``limit_s`` after the first signal, if it has not ended by itself.

    ``secure(seconds)`` is called before, in a thread, to finish a commit that is under way.
    """

    def __init__(
        self, secure: Callable[[float], None] | None = None, limit_s: float = LIMIT_S
    ) -> None:
        self._secure = secure
        self._limit_s = limit_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: threading.Timer | None = None

    def arm(self, *numbers: int) -> None:
        """Begin to count at one of these signals, which have handlers in the running loop.

        asyncio's own handler only wakes the loop. This one runs in the main thread even while a
        call in the loop blocks.
        """
        self._loop = asyncio.get_running_loop()
        for number in numbers:
            signal.signal(number, self._signalled)

    def _signalled(self, _number: int, _frame: FrameType | None) -> None:
        if self._timer is None:
            self._timer = threading.Timer(self._limit_s, self._end)
            self._timer.daemon = True
            self._timer.start()

    def _end(self) -> None:
        hanging = "; ".join(self._hanging()) or "a thread"
        text = (
            f"the stop has not ended within {self._limit_s:g} s; the process ends without {hanging}"
        )
        with contextlib.suppress(OSError):
            os.write(2, f"{for_stderr(text, logging.CRITICAL)}\n".encode())
        try:
            if self._secure is not None:
                self._secure(SECURE_S)
        finally:
            os._exit(FAULT)

    def _hanging(self) -> list[str]:
        """Name the tasks that have not ended, and where each waits."""
        assert self._loop is not None
        try:
            tasks = sorted(asyncio.all_tasks(self._loop), key=asyncio.Task.get_name)
        except RuntimeError:  # it runs and changes them
            return ["the event loop"]
        names = []
        for task in tasks[:_NAMED]:
            stack = task.get_stack(limit=1)
            where = f" at {stack[0].f_code.co_filename}:{stack[0].f_lineno}" if stack else ""
            names.append(f"task {task.get_name()}{where}")
        return names + ([f"{len(tasks) - _NAMED} more tasks"] if len(tasks) > _NAMED else [])
