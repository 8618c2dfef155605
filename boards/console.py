"""A node's console for people: its lines of JSON in plain words, and the prompt behind them.

Bytes in, text out: the terminal and the port belong to the caller.
"""

import json
from collections.abc import Mapping
from typing import Final

LINE_MAX: Final = 4096  # bytes; a longer line is shown as it comes

#: By reset cause, as the event "boot" has it.
_RESETS: Final = ("power", "the reset pin or a command", "the watchdog")


def words(fields: Mapping[str, object]) -> str:
    """Return what a line of a node's console says (docs/board.md has the keys)."""
    if "boot_epoch" in fields and "role" in fields:
        parts = [f"{fields['role']} node runs, boot {fields['boot_epoch']}"]
        if "reset_cause" in fields:
            parts.append(f"restarted by {_cause(fields['reset_cause'])}")
        if fields.get("store") == "volatile":
            parts.append("ITS FLASH TAKES NOTHING: settings do not survive a restart")
        used, free = fields.get("mem_alloc"), fields.get("mem_free")
        if isinstance(used, int) and isinstance(free, int):
            parts.append(f"memory {used // 1024} KiB used, {free // 1024} KiB free")
        return ", ".join(parts)
    for key, text in (
        ("error", "NOT A NODE YET: {}; it waits at the prompt"),
        ("warning", "WARNING: {}"),
        ("last_fault", "the run before ended by: {} ({})"),
        ("failure", "THE APPLICATION ENDED: {}; a restart follows"),
        ("sampled_frames", "sampled {} times in this boot, sampling has ended"),
        ("ended_frames", "sampled {} times in this boot"),
    ):
        if key in fields:
            return text.format(fields[key], fields.get("text", ""))
    return json.dumps(dict(fields))


def _cause(cause: object) -> str:
    return _RESETS[cause] if isinstance(cause, int) and 0 <= cause < len(_RESETS) else str(cause)


class ConsoleReader:
    """Turns what a console prints into text for a terminal.

    Lines that begin with "{" are kept until they are whole and shown in words; all else is shown at
    once, so that a prompt and what is typed there look as always. ``raw`` switches words off.
    """

    def __init__(self, raw: bool = False) -> None:
        self.raw = raw
        self._line = b""
        self._begins = True  # nothing of the present line was shown

    def feed(self, data: bytes) -> str:
        """Take bytes; return what is to be shown."""
        if self.raw:
            shown, self._line = self._line + data, b""
            return shown.decode("utf-8", "replace")
        out = ""
        *whole, rest = data.split(b"\n")
        for piece in (*(line + b"\n" for line in whole), rest):
            if piece:
                out += self._piece(piece)
        return out

    def _piece(self, piece: bytes) -> str:
        """Take a part of one line, its end included if it has come."""
        if self._line or (self._begins and piece.startswith(b"{")):
            self._line += piece
            if not piece.endswith(b"\n") and len(self._line) <= LINE_MAX:
                return ""
            line, self._line = self._line, b""
            return self._shown(line)
        self._begins = piece.endswith(b"\n")
        return piece.decode("utf-8", "replace")

    def _shown(self, line: bytes) -> str:
        self._begins = line.endswith(b"\n")
        try:
            fields = json.loads(line)
        except ValueError:
            return line.decode("utf-8", "replace")
        if not isinstance(fields, dict):
            return line.decode("utf-8", "replace")
        return f"* {words(fields)}\r\n"
