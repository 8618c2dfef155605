"""How long a node has been up, by its engine and by its own count of milliseconds.

A node whose milliseconds fall behind polls, samples and feeds its watchdog too late, and every
result of a test with it is a strange one. So the bench compares the two at a test's end.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

#: Two clocks that are further apart than this part of the time ...
TOLERANCE: Final = 0.005
#: ... over more than this many seconds, are two different times.
LEAST_S: Final = 5.0
#: Where the image counts (systick.c of the board).
SYMBOL: Final = b"milliseconds"

_HEADER: Final = struct.Struct("<32xI10xHH")  # e_shoff, e_shentsize, e_shnum
_SECTION: Final = struct.Struct("<4xI8xIII12x")  # type, offset, size, link
_SYMBOL: Final = struct.Struct("<II4xB3x")  # name, value, info
_SYMBOL_TABLE: Final = 2
_OBJECT: Final = 1


@dataclass(frozen=True, slots=True)
class ClockReading:
    """Seconds since a node's last reset; ``slack_s`` is how far two reads of them may differ."""

    engine_s: float
    own_s: float
    slack_s: float

    def apart(self) -> str:
        """Return what is wrong with the two, or an empty text."""
        apart_s = abs(self.own_s - self.engine_s) - self.slack_s
        if self.engine_s <= LEAST_S or apart_s <= TOLERANCE * self.engine_s:
            return ""
        return (
            f"counted {self.own_s:.2f} s in {self.engine_s:.2f} s of its engine, "
            f"{self.own_s / self.engine_s:.3f} times as much: expected at most "
            f"{TOLERANCE:.1%} apart"
        )


def symbol_address(elf: Path, name: bytes = SYMBOL) -> int | None:
    """Return where the variable ``name`` is in an image, None if it names none (or is no ELF)."""
    image = elf.read_bytes()
    try:
        sections = _sections(image)
        for kind, at, size, link in sections:
            if kind != _SYMBOL_TABLE:
                continue
            _, texts, length, _ = sections[link]
            for text, value, info in _SYMBOL.iter_unpack(image[at : at + size]):
                found = image[texts + text : texts + min(length, text + len(name) + 1)]
                if info & 0xF == _OBJECT and found == name + b"\0":
                    return int(value)
    except (struct.error, IndexError):
        pass
    return None


def _sections(image: bytes) -> list[tuple[int, int, int, int]]:
    start, size, count = _HEADER.unpack_from(image)
    return [_SECTION.unpack_from(image, start + size * index) for index in range(count)]
