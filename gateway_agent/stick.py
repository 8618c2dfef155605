"""Signed batches on a stick, for a site without a line, and the receipts that come back on it.

::

    tianfu-edge/gw-1/00000000004294967297-000000000001-000000004000.batches
    tianfu-edge/receipts/gw-1-00000000004294967297.receipt

A stick proves nothing and needs to hold nothing for ever: the outbox keeps every record until its
receipt has come, whatever way it took. Each file is written beside its name, made durable, and
renamed; so a stick that is pulled out has whole files and at most one unfinished one.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from .batch_file import SUFFIX, unpack
from .directories import make_directory, replace_file
from .errors import OperatorError

FOLDER: Final = "tianfu-edge"
RECEIPTS: Final = "receipts"
MAX_FILE: Final = 20 << 20  # bytes of a file that is read
_NAME: Final = re.compile(r"(\d{20})-(\d{12})-(\d{12})\.batches", re.ASCII)


class StickFile(NamedTuple):
    """A file on a stick, by its place and name."""

    path: Path
    gateway: str
    stream: int
    first: int
    last: int

    def batches(self) -> list[bytes]:
        """Return what is in it. ValueError: it is not whole. OSError."""
        with self.path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
        if len(data) > MAX_FILE:
            raise ValueError(f"expected at most {MAX_FILE} bytes")
        return unpack(data)


class Stick:
    """What is below ``path``, where a stick is mounted."""

    def __init__(self, path: Path) -> None:
        """OperatorError: no such directory, so nothing is mounted there."""
        if not path.is_dir():
            raise OperatorError(f"{path}: expected a directory: is the stick mounted there?")
        self._root = path / FOLDER

    def files(self, gateway: str | None = None) -> list[StickFile]:
        """Return the files of a gateway (None: of all), each stream in the order of its records."""
        found = []
        for path in self._root.glob(f"*/*{SUFFIX}"):
            match = _NAME.fullmatch(path.name)
            if match is not None and gateway in (None, path.parent.name):
                found.append(StickFile(path, path.parent.name, *map(int, match.groups())))
        return sorted(found, key=lambda file: file[1:])

    def unknown(self) -> list[Path]:
        """Return files that are not ours, or were not written whole."""
        ours = {file.path for file in self.files()}
        every = (path for path in self._root.glob("*/*") if path.parent.name != RECEIPTS)
        return sorted(path for path in every if path not in ours)

    def covered(self, gateway: str, stream: int, after: int) -> int:
        """Return up to which record the stick has all that follow record ``after``."""
        for file in self.files(gateway):
            if file.stream == stream and file.first <= after + 1 <= file.last:
                with suppress(ValueError, OSError):
                    if file.batches():
                        after = file.last
        return after

    def write(self, gateway: str, stream: int, first: int, last: int, content: bytes) -> Path:
        """Write a file of batches; it is on the stick when this returns. OSError: it is not."""
        path = self._root / gateway / f"{stream:020}-{first:012}-{last:012}{SUFFIX}"
        self._write(path, content)
        return path

    def remove(self, gateway: str, stream: int, receipted_to: int) -> int:
        """Remove the files of a stream whose records are all receipted; return how many."""
        found = [
            file
            for file in self.files(gateway)
            if file.stream == stream and file.last <= receipted_to
        ]
        for file in found:
            file.path.unlink()
        return len(found)

    def receipts(self, gateway: str) -> Iterator[bytes]:
        """Yield the receipts for a gateway, the newest stream last."""
        for path in sorted((self._root / RECEIPTS).glob(f"{gateway}-*.receipt")):
            with path.open("rb") as file:
                yield file.read(4096)

    def write_receipt(self, gateway: str, stream: int, data: bytes) -> None:
        """Write the receipt of a stream in place of the one before. OSError."""
        self._write(self._root / RECEIPTS / f"{gateway}-{stream:020}.receipt", data)

    def _write(self, path: Path, content: bytes) -> None:
        make_directory(path.parent, 0o755)
        try:
            replace_file(path, content)
            path.chmod(0o644)  # the other end has other users
        except OSError:
            with suppress(OSError):
                path.with_suffix(".tmp").unlink(missing_ok=True)  # its room is for others
            raise
