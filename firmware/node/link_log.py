"""The node's own log: its last lines in bounded memory, for the serial link to send.

A node without a link has no log: nobody could read it.
"""

from micropython import const

from protocols.wire.link.messages import MAX_LOG_TEXT

_LINES = const(12)
_NAMES = ("", "error", "warning", "information")


class LogLines:
    """``count`` is the number of lines since boot; the last ``_LINES`` of them are here."""

    def __init__(self) -> None:
        self.count = 0
        self._lines: list[tuple[int, int, str]] = []

    def add(self, level: int, text: str, t_boot_ms: int) -> None:
        """Add a line."""
        if len(self._lines) == _LINES:
            self._lines.pop(0)
        self._lines.append((level, t_boot_ms & 0xFFFFFFFF, text[:MAX_LOG_TEXT]))
        self.count += 1

    def first(self) -> int:
        """Return the number of the oldest line that is here; lines count from 0."""
        return self.count - len(self._lines)

    def line(self, number: int) -> "tuple[int, int, str]":
        """Return level, time and text of a line that is here."""
        return self._lines[number - self.first()]

    def text(self) -> bytes:
        """Return the lines as a file."""
        return b"".join(
            [("%d %s %s\n" % (at, _NAMES[level], text)).encode() for level, at, text in self._lines]
        )
