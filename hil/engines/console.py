"""A board's console: its newest lines, a log of all of them, and a way in for people and tools.

The bench reads every byte the node says, writes it to a log with time stamps, finds JSON lines in
it, and passes it on to a pseudo terminal (``path``) that a person or mpremote may open meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar, cast

from hil.engines.deadline import Clock, Deadline
from hil.errors import ConsoleError, ReplError
from hil.wires.console_tap import Log, Tap
from hil.wires.wire import Wire

#: Kept per board; a console that babbles must not fill memory ...
MAX_LINES: Final = 1000
#: ... nor what a wait may look back at.
MAX_UNREAD: Final = 256 * 1024
_MAX_LINE_BYTES: Final = 4096
_QUOTED_LINES: Final = 15
_REPL_LIMIT_S: Final = 10.0
# One write of a tester to a UART of 115200 Bd is no megabyte: pieces keep a wire's bounds.
_REPL_CHUNK: Final = 256

_INTERRUPT: Final = b"\r\x03\x03"
_RAW: Final = b"\r\x01"
_FRIENDLY: Final = b"\r\x02"
_END: Final = b"\x04"
_RAW_BANNER: Final = b"raw REPL; CTRL-B to exit\r\n>"

Object = dict[str, object]
_Found = TypeVar("_Found")


class Console:
    """The console of the board ``name``; bytes come through ``wire`` or :meth:`feed`.

    ``log`` is the file that everything goes to, ``clock`` the board's time (None: the host's),
    which counts in every ``limit_s`` here. ``on_object`` is called with every JSON object that the
    node says as a line of its own.
    """

    def __init__(
        self,
        name: str,
        log: Path | None = None,
        *,
        wire: Wire | None = None,
        clock: Clock | None = None,
        on_object: Callable[[Object], None] | None = None,
    ) -> None:
        self.name = name
        self.lines: deque[str] = deque(maxlen=MAX_LINES)
        self.clock = clock
        #: Bytes that no wait can find any more, because nobody asked for them in time.
        self.forgotten = 0
        self._log = Log(log) if log is not None else None
        self._wire = wire
        self._on_object = on_object
        self._line = bytearray()
        self._unread = bytearray()
        self._objects: deque[Object] = deque(maxlen=MAX_LINES)
        self._news = asyncio.Event()
        self._ended: str | None = None
        self._tap: Tap | None = None
        self._listening = False

    # --- what the node says -------------------------------------------------------------------

    def listen(self) -> None:
        """Begin to read the wire, in the running event loop."""
        if self._wire is not None and not self._listening:
            self._listening = True
            self._wire.listen(self.feed)

    def feed(self, data: bytes) -> None:
        """Bytes that the node said."""
        if self._tap is not None:
            self._tap.send(data)
        self._unread += data
        excess = len(self._unread) - MAX_UNREAD
        if excess > 0:
            del self._unread[:excess]
            self.forgotten += excess
        for piece in data.splitlines(keepends=True):
            self._line += piece
            if piece.endswith(b"\n") or len(self._line) >= _MAX_LINE_BYTES:
                self._line_ends()
        self._news.set()

    def _line_ends(self) -> None:
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
        """A line of the bench's own in the log: power on, reset, ..."""
        if self._line:
            self._line_ends()
        if self._log is not None:
            self._log.write(f"--- {text}")

    def begins(self, note: str) -> None:
        """The node starts anew: what it said before answers no wait from now on."""
        self.note(note)
        self._ended = None
        self._unread.clear()
        self._objects.clear()

    def ends(self, why: str) -> None:
        """The node says nothing more: whoever waits is told so at once."""
        self.note(why)
        self._ended = why
        self._news.set()

    def __iter__(self) -> Iterator[str]:
        return iter(self.lines)

    def tail(self, lines: int = _QUOTED_LINES) -> str:
        """The last lines, indented, for an error's text."""
        last = [*self.lines, *([self._line.decode("utf-8", "replace")] if self._line else [])]
        return "\n".join(f"    {line}" for line in last[-lines:]) or "    (nothing)"

    def error(self, what: str) -> ConsoleError:
        """An error that quotes the last lines."""
        return ConsoleError(f"node {self.name} {what}; its console:\n{self.tail()}")

    # --- waiting for it -----------------------------------------------------------------------

    async def _wait(self, look: Callable[[], _Found | None], what: str, limit_s: float) -> _Found:
        deadline = Deadline(limit_s, self.clock)
        while True:
            self._news.clear()
            if (found := look()) is not None:
                return found
            if self._ended is not None:
                raise self.error(f"{self._ended} before it said {what}")
            if deadline.over():
                raise self.error(f"said no {what} within {limit_s:g} s")
            await deadline.look(self._news)

    async def wait_for(self, pattern: str, limit_s: float) -> re.Match[str]:
        """The first line not waited for yet in which ``pattern`` is found; also an unfinished
        one, such as a prompt. What came before it answers no further wait. ConsoleError.
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
        """The first JSON object not waited for yet that has ``key``; those before it are
        forgotten. ConsoleError.
        """

        def look() -> Object | None:
            while self._objects:
                value = self._objects.popleft()
                if key in value:
                    return value
            return None

        return await self._wait(look, f'JSON line with "{key}"', limit_s)

    async def wait_bytes(self, mark: bytes, limit_s: float) -> bytes:
        """What the node said up to and with ``mark``. ConsoleError."""

        def look() -> bytes | None:
            at = self._unread.find(mark)
            if at < 0:
                return None
            found = bytes(self._unread[: at + len(mark)])
            del self._unread[: at + len(mark)]
            return found

        return await self._wait(look, f"{mark!r}", limit_s)

    # --- the way in ---------------------------------------------------------------------------

    def write(self, data: bytes) -> int:
        """Type: returns how many bytes were taken. ConsoleError where there is no way in."""
        if self._wire is None:
            raise self.error("has a console that can only be read")
        return self._wire.write(data)

    @property
    def path(self) -> str:
        """A terminal to open like the board's serial port (``mpremote connect PATH resume ...``).

        The bench goes on reading; two that type at the same time disturb each other.
        """
        if self._tap is None:
            self._tap = Tap(self.write)
        return self._tap.path

    async def interrupt(self, limit_s: float = _REPL_LIMIT_S) -> None:
        """Ctrl-C until there is a REPL that waits for a line."""
        self._unread.clear()
        self.write(_INTERRUPT)
        await self.wait_for(">>> $", limit_s)

    async def raw_exec(self, code: str, limit_s: float = _REPL_LIMIT_S) -> str:
        """Run ``code`` in the raw REPL; returns what it printed. ReplError if it raised.

        What runs now is interrupted first. ``limit_s`` is for each step, and for the code.
        """
        self._unread.clear()
        self.write(_INTERRUPT + _RAW)
        await self.wait_bytes(_RAW_BANNER, limit_s)
        source = code.encode()
        for start in range(0, len(source), _REPL_CHUNK):
            self.write(source[start : start + _REPL_CHUNK])
        self.write(_END)
        await self.wait_bytes(b"OK", limit_s)
        output = await self.wait_bytes(_END, limit_s)
        errors = await self.wait_bytes(_END, limit_s)
        self.write(_FRIENDLY)
        await self.wait_bytes(b">>> ", limit_s)
        if trouble := errors[:-1].decode("utf-8", "replace").strip():
            last = trouble.splitlines()[-1]
            raise ReplError(f"node {self.name}: {code!r} raised {last}\n{trouble}", trouble)
        return output[:-1].decode("utf-8", "replace").replace("\r\n", "\n")

    def close(self) -> None:
        """Stop listening and close log and terminal; further calls do nothing."""
        if self._wire is not None:
            self._wire.close()
        if self._tap is not None:
            self._tap.close()
            self._tap = None
        if self._log is not None:
            if self._line:
                self._line_ends()
            self._log.close()
            self._log = None
