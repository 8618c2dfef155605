"""Where standard error leads to journald, log records go to it with their priority and fields.

A record goes over journald's own socket (systemd's "Native Journal Protocol"), with fields to
search by: ``journalctl TIANFU_BUS=roof``, and the same for DEVICE, UPLINK, ALARM and NOTIFY. Where
that socket takes nothing, and for what is written without a record, each line on standard error
begins with its priority (sd-daemon(3)).
"""

import logging
import os
import socket
import struct
from collections.abc import Mapping
from typing import Final

SOCKET: Final = "/run/systemd/journal/socket"
MAX_DATAGRAM: Final = 128 * 1024  # bytes; what is longer goes in lines
_PRIORITIES: Final[Mapping[int, int]] = {
    logging.DEBUG: 7,
    logging.INFO: 6,
    logging.WARNING: 4,
    logging.ERROR: 3,
    logging.CRITICAL: 2,
}
_NOTICE: Final = 5
_ABOUT: Final = "tianfu_about"


def about(**names: str) -> dict[str, Mapping[str, str]]:
    """Return what a record is about: ``log.warning(..., extra=about(bus="roof"))``."""
    return {_ABOUT: names}


def is_journal() -> bool:
    """Return whether standard error leads to journald (systemd.exec(5), JOURNAL_STREAM)."""
    named = os.environ.get("JOURNAL_STREAM", "")
    try:
        state = os.fstat(2)
    except OSError:
        return False
    return named == f"{state.st_dev}:{state.st_ino}"


def priority_of(level: int) -> int:
    """Return the priority of syslog(3) for a level of logging."""
    return _PRIORITIES.get(level, _NOTICE)


def for_journal(text: str, level: int) -> str:
    """Return ``text`` with the priority of a level of logging before each line."""
    prefix = f"<{priority_of(level)}>"
    return "\n".join(prefix + line for line in text.split("\n"))


def for_stderr(text: str, level: int) -> str:
    """Return ``text`` as it belongs on standard error."""
    return for_journal(text, level) if is_journal() else text


class JournalHandler(logging.StreamHandler):  # type: ignore[type-arg] # generic in the stubs only
    """Sends records to journald; what that does not take goes to standard error, in lines.

    ``lines`` formats for standard error, ``message`` for the field MESSAGE.
    """

    def __init__(
        self, lines: logging.Formatter, message: logging.Formatter, path: str = SOCKET
    ) -> None:
        super().__init__()
        self.setFormatter(lines)
        self._message = message
        self._path = path
        # Never waits: a journal that is behind must not hold up a poll.
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record."""
        try:
            data = b"".join(_field(*item) for item in self._fields(record).items())
            if len(data) > MAX_DATAGRAM:
                raise OSError("too long")
            self._socket.sendto(data, self._path)
        except OSError:
            super().emit(record)
        except Exception:  # noqa: BLE001 - as every handler of logging does it
            self.handleError(record)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        super().close()

    def _fields(self, record: logging.LogRecord) -> dict[str, str]:
        found = {
            "MESSAGE": self._message.format(record),
            "PRIORITY": str(priority_of(record.levelno)),
            "SYSLOG_IDENTIFIER": "tianfu",
            "LOGGER": record.name,
            "CODE_FILE": record.pathname,
            "CODE_LINE": str(record.lineno),
            "CODE_FUNC": record.funcName,
        }
        names: Mapping[str, str] = getattr(record, _ABOUT, {})
        return found | {f"TIANFU_{name.upper()}": value for name, value in names.items()}


def _field(name: str, value: str) -> bytes:
    """Return a field as the protocol has it; with its length, so that a value may have lines."""
    data = value.encode("utf-8", "replace")
    if b"\n" not in data:
        return b"%s=%s\n" % (name.encode(), data)
    return b"%s\n%s%s\n" % (name.encode(), struct.pack("<Q", len(data)), data)
