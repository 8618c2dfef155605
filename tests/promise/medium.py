"""What a power cut would leave of a folder, by the system calls that strace has recorded.

A write is on the medium once its file was synced after it, a name once its directory was. Of what
was not, a power cut leaves any part: each write whole, cut at a sector, or not at all; the names of
before, or those of the end.
"""

import codecs
import random
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

RECORDED: Final = (
    *("openat", "pwrite64", "write", "ftruncate", "fsync", "fdatasync", "rename", "unlink"),
)
_SECTOR: Final = 512
_LINE: Final = re.compile(r"(\d+) +(\w+)\((.*)\) += (-?\d+|\?)(?:<([^>]*)>)?.*")
_UNFINISHED: Final = re.compile(r"(\d+) +(\w+\(.*) <unfinished \.\.\.>")
_RESUMED: Final = re.compile(r"(\d+) +<\.\.\. \w+ resumed>(.*)")
_OF_FILE: Final = re.compile(r"(\d+)<([^>]*)>(?:, (.*))?", re.DOTALL)
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')


class RecordedCall(NamedTuple):
    """A system call that succeeded; ``path`` is the file that it returned, if it did."""

    name: str
    arguments: str
    result: int
    path: str


class _File:
    """An inode: what is on the medium, and the changes that may not be."""

    def __init__(self, content: bytes = b"") -> None:
        self.durable = content
        self.pending: list[tuple[int, bytes | None]] = []  # offset and bytes; None: cut there

    def content(self, choose: random.Random | None) -> bytes:
        """Return all of it; with ``choose`` what a power cut may leave."""
        content = bytearray(self.durable)
        for offset, data in self.pending:
            kept = data
            if choose is not None:
                share = choose.random()
                if share < 0.4:
                    continue
                if data is not None and share < 0.6:
                    kept = data[: choose.randrange(len(data) + 1) // _SECTOR * _SECTOR]
            if kept is None:
                del content[offset:]
            content.extend(bytes(max(0, offset - len(content))))
            if kept is not None:
                content[offset : offset + len(kept)] = kept
        return bytes(content)

    def sync(self) -> None:
        self.durable, self.pending = self.content(None), []


class Medium:
    """Files of one folder by name; ``files`` are there from the beginning."""

    def __init__(self, folder: Path, files: Mapping[str, bytes]) -> None:
        self._folder = str(folder)
        self._durable = {name: _File(content) for name, content in files.items()}
        self._names = dict(self._durable)
        self._positions: dict[int, int] = {}  # by descriptor

    def apply(self, call: RecordedCall) -> None:
        """Follow one call."""
        if call.name in ("rename", "unlink"):
            paths = [_unquoted(path).decode() for path in _QUOTED.findall(call.arguments)]
            file = self._names.pop(self._name(paths[0]), None)
            if call.name == "rename" and file is not None and (name := self._name(paths[1])):
                self._names[name] = file
        elif call.name == "openat":
            self._positions[call.result] = 0
            name = self._name(call.path)
            if name and "O_DIRECTORY" not in call.arguments:
                file = self._names.setdefault(name, _File())
                if "O_TRUNC" in call.arguments:
                    file.pending.append((0, None))
        elif found := _OF_FILE.fullmatch(call.arguments):
            self._of_file(call, int(found[1]), found[2], found[3] or "")

    def _of_file(self, call: RecordedCall, descriptor: int, path: str, rest: str) -> None:
        if call.name in ("fsync", "fdatasync") and path == self._folder:
            self._durable = dict(self._names)
            return
        file = self._names.get(self._name(path))
        if file is None:
            return
        if call.name in ("fsync", "fdatasync"):
            file.sync()
        elif call.name == "ftruncate":
            size = int(rest)
            file.pending.append((size, None))
        else:
            data = _unquoted(_QUOTED.match(rest)[1])[: call.result]  # type: ignore[index] # it begins so
            offset = int(rest.rpartition(", ")[2])
            if call.name == "write":
                offset = self._positions.get(descriptor, 0)
                self._positions[descriptor] = offset + call.result
            file.pending.append((offset, data))

    def _name(self, path: str) -> str:
        folder, _, name = path.rpartition("/")
        return name if folder == self._folder else ""

    def now(self) -> Mapping[str, bytes]:
        """Return what is there while the power is on."""
        return {name: file.content(None) for name, file in self._names.items()}

    def after_power_cut(self, choose: random.Random) -> Mapping[str, bytes]:
        """Return what is there when the power is back."""
        names = choose.choice((self._durable, self._names))
        return {name: file.content(choose) for name, file in names.items()}


def calls_of(log: str) -> Iterator[RecordedCall]:
    """Read the log of ``strace -f -y`` in the order in which the calls ended."""
    begun: dict[str, str] = {}
    for line in log.splitlines():
        whole = line
        if found := _UNFINISHED.fullmatch(line):
            begun[found[1]] = found[2]
            continue
        if (found := _RESUMED.fullmatch(line)) and found[1] in begun:
            whole = f"{found[1]} {begun.pop(found[1])}{found[2]}"
        call = _LINE.fullmatch(whole)
        if call and call[4] != "?" and int(call[4]) >= 0:
            yield RecordedCall(call[2], call[3], int(call[4]), call[5] or "")


def _unquoted(text: str) -> bytes:
    """Read a string as strace prints it."""
    decoded, _ = codecs.escape_decode(text.encode("latin-1"))
    assert isinstance(decoded, bytes)
    return decoded
