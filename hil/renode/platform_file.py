"""A small reader of Renode's platform files: enough to check ours without Renode.

It reads entries (``name: Type @ sysbus 0x1000``), their attributes (indented, or in braces), lines
to interrupts and ``init:`` blocks of Monitor commands; anything else is an error with its line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hil.errors import PlatformFileError

_USING: Final = re.compile(r'^using "([^"]+)"$')
_ENTRY: Final = re.compile(
    r"^(?P<name>[A-Za-z_]\w*):"
    r"(?:\s+(?P<type>[A-Z]\w*(?:\.\w+)+)\s+@\s+sysbus\s+(?P<at>0x[0-9A-Fa-f]+|<.+>))?"
    r"(?:\s*\{(?P<inline>[^{}]*)\})?$"
)
_RANGE: Final = re.compile(r"^<(0x[0-9A-Fa-f]+),\s*\+(0x[0-9A-Fa-f]+)>$")
_ATTRIBUTE: Final = re.compile(r'^([A-Za-z_]\w*):\s*(0x[0-9A-Fa-f]+|\d+|true|false|"[^"]*")$')
_LINE: Final = re.compile(r"^(?:(\w+)\s*)?->\s*(\w+)@(\d+)$")
_INIT: Final = re.compile(r"^init(?: add)?:$")


@dataclass(slots=True)
class Entry:
    """One peripheral. ``type`` empty: it overrides what was described before."""

    name: str
    line: int
    type: str = ""
    base: int | None = None
    size: int | None = None
    attributes: dict[str, str] = field(default_factory=dict)
    irqs: list[tuple[str, str, int]] = field(default_factory=list)  # source, target, number
    init: list[str] = field(default_factory=list)

    def number(self, attribute: str) -> int:
        """Return a numeric attribute. KeyError."""
        return int(self.attributes[attribute], 0)


@dataclass(slots=True)
class Platform:
    """What a file describes."""

    uses: list[str] = field(default_factory=list)
    entries: dict[str, Entry] = field(default_factory=dict)


def parse(text: str, name: str = "text") -> Platform:
    """Read a platform file. PlatformFileError."""
    platform = Platform()
    entry: Entry | None = None
    in_init = False
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.split("//", 1)[0].rstrip() if '"' not in raw.split("//", 1)[0] else raw.rstrip()
        body = line.strip()
        if not body:
            continue
        where = f"{name}:{number}"
        indent = len(line) - len(line.lstrip())
        if "\t" in line[:indent] or indent % 4:
            raise PlatformFileError(f"{where}: expected blanks in steps of four before {body!r}")
        if indent == 0:
            in_init = False
            if found := _USING.match(body):
                if platform.entries:
                    raise PlatformFileError(f"{where}: expected `using` before the entries")
                platform.uses.append(found[1])
                continue
            entry = _entry(body, number, where)
            if entry.name in platform.entries:
                raise PlatformFileError(f"{where}: {entry.name} is described twice")
            platform.entries[entry.name] = entry
        elif entry is None:
            raise PlatformFileError(f"{where}: expected an entry before {body!r}")
        elif indent == 8 and in_init:
            entry.init.append(body)
        elif indent == 4 and _INIT.match(body):
            in_init = True
        elif indent == 4:
            in_init = False
            _attribute(entry, body, where)
        else:
            raise PlatformFileError(f"{where}: expected an attribute, got {body!r}")
    return platform


def _entry(body: str, number: int, where: str) -> Entry:
    found = _ENTRY.match(body)
    if found is None:
        raise PlatformFileError(
            f"{where}: expected `name: Type @ sysbus ADDRESS` or `name:`, got {body!r}"
        )
    entry = Entry(found["name"], number, found["type"] or "")
    if at := found["at"]:
        span = _RANGE.match(at)
        if at.startswith("<") and span is None:
            raise PlatformFileError(f"{where}: expected <ADDRESS, +SIZE>, got {at}")
        entry.base = int(span[1] if span else at, 0)
        entry.size = int(span[2], 0) if span else None
    for piece in (found["inline"] or "").split(";"):
        if piece.strip():
            _attribute(entry, piece.strip(), where)
    return entry


def _attribute(entry: Entry, body: str, where: str) -> None:
    if found := _LINE.match(body):
        entry.irqs.append((found[1] or "", found[2], int(found[3])))
    elif found := _ATTRIBUTE.match(body):
        if found[1] in entry.attributes:
            raise PlatformFileError(f"{where}: {found[1]} is given twice")
        entry.attributes[found[1]] = found[2]
    else:
        raise PlatformFileError(f"{where}: expected `name: value` or `-> nvic@N`, got {body!r}")


def load(file: Path) -> Platform:
    """Read a file. PlatformFileError, OSError."""
    return parse(file.read_text(encoding="utf-8"), file.name)
