"""A board's console: its newest lines, a log of all of them, and waits for what it prints.

The bench reads every byte of the console, writes it to a log with time stamps and finds JSON lines
in it. The way in, where a board has one, is :mod:`hil.engines.repl`.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar, cast

from hil.engines.deadline import Clock, Deadline, Lag
from hil.errors import ConsoleError
from hil.wires.console_tap import Log

#: Kept per board: endless output must not fill memory ...
MAX_LINES: Final = 1000
#: ... nor what a wait may look back at.
MAX_UNREAD: Final = 256 * 1024
_MAX_LINE_BYTES: Final = 4096
_QUOTED_LINES: Final = 15

Object = dict[str, object]
_Found = TypeVar("_Found")


class Console:
    """The console of the board ``name``, whose bytes come through :meth:`feed`.

    ``log`` is the file that everything goes to, ``clock`` the board's time (None: the host's),
    which counts in every ``limit_s`` here, ``lag`` is for deadlines. ``on_object`` is called
    with every JSON object that the node prints as a line of its own.
    """

    def __init__(
        self,
        name: str,
        log: Path | None = None,
        *,
        clock: Clock | None = None,
        lag: Lag | None = None,
        on_object: Callable[[Object], None] | None = None,
    ) -> None:
        self.name = name
        self.lines: deque[str] = deque(maxlen=MAX_LINES)
        self.clock = clock
        self.lag = lag
        #: Gets every byte as well, for a terminal that shows the console.
        self.mirror: Callable[[bytes], None] | None = None
        #: Bytes that no wait can find any more, because none came for them in time.
        self.forgotten = 0
        self._log = Log(log) if log is not None else None
        self._on_object = on_object
        self._line = bytearray()
        self._unread = bytearray()
        self._objects: deque[Object] = deque(maxlen=MAX_LINES)
        self._news = asyncio.Event()
        self._ended: str | None = None

    # --- output of the node -------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Take bytes that the node printed."""
        if self.mirror is not None:
            self.mirror(data)
        self._unread += data
        excess = len(self._unread) - MAX_UNREAD
        if excess > 0:
            del self._unread[:excess]
            self.forgotten += excess
        for piece in data.splitlines(keepends=True):
            self._line += piece
            if piece.endswith(b"\n") or len(self._line) >= _MAX_LINE_BYTES:
                self._end_line()
        self._news.set()

    def _end_line(self) -> None:
        line = bytes(self._line).decode("utf-8", "replace").rstrip("\r\n")
        self._line.clear()
        self.lines.append(line)
        if self._log is not None:
            self._log.write(line)
        if not line.startswith("{"):
            return
        try:
            value = json.loads(line)
        except ValueError:
            return
        if isinstance(value, dict):
            self._objects.append(cast(Object, value))
            if self._on_object is not None:
                self._on_object(cast(Object, value))

    def note(self, text: str) -> None:
        """Write a line of the bench's own to the log: power on, reset, ..."""
        if self._line:
            self._end_line()
        if self._log is not None:
            self._log.write(f"--- {text}")

    def begin(self, note: str) -> None:
        """Note that the node starts anew: earlier output answers no wait from now on."""
        self.note(note)
        self._ended = None
        self._unread.clear()
        self._objects.clear()

    def end(self, why: str) -> None:
        """Note that no more output comes: every wait ends with this reason at once."""
        self.note(why)
        self._ended = why
        self._news.set()

    def forget_unread(self) -> None:
        """Let no wait find output that came before now."""
        self._unread.clear()

    def __iter__(self) -> Iterator[str]:
        return iter(self.lines)

    def tail(self, lines: int = _QUOTED_LINES) -> str:
        """Return the last lines, indented, for an error's text."""
        last = [*self.lines, *([self._line.decode("utf-8", "replace")] if self._line else [])]
        return "\n".join(f"    {line}" for line in last[-lines:]) or "    (nothing)"

    def error(self, what: str) -> ConsoleError:
        """Return an error that quotes the last lines."""
        return ConsoleError(f"node {self.name} {what}; its console:\n{self.tail()}")

    # --- waits --------------------------------------------------------------------------------

    async def _wait(self, look: Callable[[], _Found | None], what: str, limit_s: float) -> _Found:
        deadline = Deadline(limit_s, self.clock, lag=self.lag)
        while True:
            self._news.clear()
            if (found := look()) is not None:
                return found
            if self._ended is not None:
                raise self.error(f"{self._ended} before it printed {what}")
            if await deadline.expired():
                raise self.error(f"printed no {what} within {limit_s:g} s")
            await deadline.look(self._news)

    async def wait_for(self, pattern: str, limit_s: float) -> re.Match[str]:
        """Wait for a line in which ``pattern`` is found; also an unfinished one, such as a prompt.

        No further wait finds it or what came before it. ConsoleError.
        """
        expression = re.compile(pattern)

        def look() -> re.Match[str] | None:
            end = 0
            for piece in bytes(self._unread).splitlines(keepends=True):
                end += len(piece)
                match = expression.search(piece.decode("utf-8", "replace").rstrip("\r\n"))
                if match is not None:
                    del self._unread[:end]
                    return match
            return None

        return await self._wait(look, f"line with /{pattern}/", limit_s)

    async def wait_json(self, key: str, limit_s: float) -> Object:
        """Wait for a JSON object that has ``key``; no further wait finds it or those before it.

        ConsoleError.
        """

        def look() -> Object | None:
            while self._objects:
                value = self._objects.popleft()
                if key in value:
                    return value
            return None

        return await self._wait(look, f'JSON line with "{key}"', limit_s)

    async def wait_bytes(self, mark: bytes, limit_s: float) -> bytes:
        """Wait for ``mark``; return the output up to and with it. ConsoleError."""

        def look() -> bytes | None:
            at = self._unread.find(mark)
            if at < 0:
                return None
            found = bytes(self._unread[: at + len(mark)])
            del self._unread[: at + len(mark)]
            return found

        return await self._wait(look, f"{mark!r}", limit_s)

    def close(self) -> None:
        """Close the log; further calls do nothing."""
        if self._log is not None:
            if self._line:
                self._end_line()
            self._log.close()
            self._log = None
