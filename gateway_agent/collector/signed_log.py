"""A file of signed lines that only grows: what the collector states about its archive.

One line of text for each entry: its number, UTC, what it is about, its fields, and a signature of
the collector over the line before and this one. So a line that was changed, taken out or put in is
found by whoever has the collector's public key. A process that was killed while it wrote leaves the
beginning of a line; the next one removes it.
"""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gateway_agent.directories import make_directory, sync_directory

_CONTEXT: Final = b"tianfu-edge collector log 1\n"  # no other signature of this key begins so
_MAX_LINE: Final = 1024


class LogEntry(NamedTuple):
    """Line ``number`` (from 1 on), written at ``time`` (UTC, by the collector's clock)."""

    number: int
    time: str
    about: str
    fields: tuple[str, ...]


class SignedLog:
    """The file at ``path``, written by the one process that has the database."""

    def __init__(self, path: Path, key: Ed25519PrivateKey) -> None:
        """Read what is there, and remove a last line that was not written whole.

        ValueError: a line is not what was written. OSError.
        """
        self.path = path
        self._key = key
        self.entries, self._last, problem, whole = _read(path, key.public_key())
        if problem:
            raise ValueError(problem)
        if path.exists() and path.stat().st_size > whole:
            with path.open("r+b") as file:
                file.truncate(whole)
                os.fsync(file.fileno())

    def append(self, about: str, *fields: object) -> LogEntry:
        """Write an entry; it is durable when this returns. OSError: it may not be."""
        time = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        entry = LogEntry(len(self.entries) + 1, time, about, tuple(map(str, fields)))
        words = (str(entry.number), time, about, *entry.fields)
        if any(not word or not word.isascii() or not word.isprintable() or " " in word
               for word in words):  # fmt: skip
            raise ValueError(f"expected words of printable ASCII, got {words!r}")
        text = " ".join(words).encode()
        line = text + b" " + self._key.sign(_signed(self._last, text)).hex().encode() + b"\n"
        is_new = not self.path.exists()
        if is_new:
            make_directory(self.path.parent)
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        with os.fdopen(os.open(self.path, flags, 0o600), "r+b", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            try:
                written = file.write(line)
                if written != len(line):
                    raise OSError(28, "no room for a line", str(self.path))
                os.fsync(file.fileno())
            except OSError:
                file.truncate(end)
                raise
        if is_new:
            sync_directory(self.path.parent)
        self.entries.append(entry)
        self._last = line
        return entry


def read_log(path: Path, key: Ed25519PublicKey | None) -> tuple[list[LogEntry], str]:
    """Return the entries up to the first that is not what was written, and what is wrong there.

    ``key`` None: signatures are not checked. An unfinished last line is no fault. OSError.
    """
    entries, _, problem, _ = _read(path, key)
    return entries, problem


def _read(path: Path, key: Ed25519PublicKey | None) -> tuple[list[LogEntry], bytes, str, int]:
    """Return entries, last line, problem, and how many bytes the whole lines take."""
    entries: list[LogEntry] = []
    last, whole = b"", 0
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return entries, last, "", 0
    with file:
        while line := file.readline(_MAX_LINE):
            if not line.endswith(b"\n") and len(line) < _MAX_LINE:
                break  # the process was killed while it wrote
            problem = ""
            try:
                text, _, signature = line[:-1].rpartition(b" ")
                number, time, about, *fields = text.decode("ascii").split(" ")
                entry = LogEntry(int(number), time, about, tuple(fields))
                if entry.number != len(entries) + 1:
                    problem = f"expected line {len(entries) + 1}, got {number[:20]}"
                if key is not None:
                    key.verify(bytes.fromhex(signature.decode("ascii")), _signed(last, text))
            except (ValueError, InvalidSignature):
                problem = problem or "is not what the collector signed"
            if problem:
                return entries, last, f"{path}: line {len(entries) + 1}: {problem}", whole
            entries.append(entry)
            last = line
            whole += len(line)
    return entries, last, "", whole


def _signed(before: bytes, text: bytes) -> bytes:
    return _CONTEXT + before + text
