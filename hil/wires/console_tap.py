"""Where a console's bytes go besides the bench: a log file, and a terminal for people and tools."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TextIO

from hil.wires.pty import Pty

#: Endless output must not fill the disk.
MAX_LOG_BYTES: Final = 16 * 1024 * 1024
#: What may wait for a reader of the terminal.
MAX_WAITING: Final = 64 * 1024
_PUMP_S: Final = 0.005
# A terminal that took nothing for so long has no reader.
_NOBODY_S: Final = 1.0


class Log:
    """A file of lines, each with the seconds since it was made; it ends at MAX_LOG_BYTES."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: TextIO = path.open("a", encoding="utf-8", buffering=1)
        self._start = time.monotonic()
        self._left = MAX_LOG_BYTES

    def write(self, line: str) -> None:
        """Write one line, given without its end."""
        if self._left <= 0:
            return
        text = f"[{time.monotonic() - self._start:12.6f}] {line}\n"
        self._left -= len(text)
        self._file.write(text if self._left > 0 else "--- the log's limit is reached\n")

    def close(self) -> None:
        """Close the file; further lines are errors."""
        self._file.close()


class Tap:
    """A pseudo terminal that shows what :meth:`send` is given; what is typed goes to ``typed``.

    Without a reader it keeps the newest kilobytes only, so that a reader that comes later does not
    get the output of an hour ago.
    """

    def __init__(self, typed: Callable[[bytes], object]) -> None:
        self._pty = Pty(rx_limit=4095)

        def on_data(data: bytes) -> None:
            typed(data)

        self._pty.listen(on_data)
        self._loop = asyncio.get_running_loop()
        self._waiting = bytearray()
        self._timer: asyncio.TimerHandle | None = None
        self._took_at = 0.0
        self.path = self._pty.path

    def send(self, data: bytes) -> None:
        """Show these bytes."""
        if not self._waiting:
            self._took_at = self._loop.time()
        self._waiting += data
        del self._waiting[:-MAX_WAITING]
        if self._timer is None:
            self._pump()

    def _pump(self) -> None:
        self._timer = None
        room = self._pty.room()
        if room:
            taken = self._pty.write(bytes(self._waiting[:room]))
            del self._waiting[:taken]
            self._took_at = self._loop.time()
        elif self._loop.time() - self._took_at > _NOBODY_S:
            self._pty.flush()
        if self._waiting:
            self._timer = self._loop.call_later(_PUMP_S, self._pump)

    def close(self) -> None:
        """Close the terminal."""
        if self._timer is not None:
            self._timer.cancel()
        self._pty.close()
