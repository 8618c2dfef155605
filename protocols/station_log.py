"""The form of a station's log, which a station writes and a gateway enrolls nodes from.

A line is a JSON object. ``prev`` is the SHA-256 of the line before (64 zeros in the first), so that
no line can be changed or removed without breaking the chain behind it. The hash of the last line is
the *head*: whoever wrote it down notices when lines were cut off at the end. A log holds no secret
in clear (:mod:`protocols.enrolment`).
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple, TypeAlias

from .identity import parse_uid, usb_serial

FIRST: Final = "0" * 64
HEAD_DIGITS: Final = 16
HEAD_RULE: Final = f"its first {HEAD_DIGITS} digits or more"
PROVEN: Final = "proven"
SEALED: Final = "sealed"

_STATES: Final = ("begun", "failed", PROVEN)
_SAMPLE: Final = re.compile(r"(\d+)/(\d+)")

StationLine: TypeAlias = dict[str, object]


class ChainError(Exception):
    """A line does not follow from the one before; ``line`` is its number, ``found`` its begin."""

    def __init__(self, line: int, prev: str, found: bytes) -> None:
        super().__init__(
            f"line {line}: expected a line with the hash of the line before ({prev[:16]}...), got "
            f"{found[:80]!r}: a line was changed or removed"
        )


class StationChain(NamedTuple):
    """The lines of a log. ``cut`` are the numbers of lines that a power cut left unfinished."""

    lines: list[StationLine]
    head: str
    cut: list[int]


def read_chain(content: bytes) -> StationChain:
    """Read a log and check its chain. ChainError."""
    lines: list[StationLine] = []
    cut: list[int] = []
    prev = FIRST
    for number, text in enumerate(content.split(b"\n"), 1):
        if not text:
            continue
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError):
            # Cut off by a power cut. A whole line that was garbled breaks the chain at the next.
            cut.append(number)
            continue
        if not isinstance(fields, dict) or fields.get("prev") != prev:
            raise ChainError(number, prev, text)
        lines.append(fields)
        prev = hashlib.sha256(text).hexdigest()
    return StationChain(lines, prev, cut)


def is_head(chain: StationChain, text: str) -> bool:
    """Return whether ``text``, as somebody read it out, is the head of a log."""
    digits = text.replace(" ", "").lower()
    return len(digits) >= HEAD_DIGITS and chain.head.startswith(digits)


def proven_boards(lines: Iterable[StationLine]) -> dict[str, StationLine]:
    """Return the line of each board, by unique id, that proved itself twice and is still so.

    A board that is flashed over USB has no unique id in the log until it proves itself. Until then
    it may be any of those with its USB serial number, so none of them counts as proven.
    """
    found: dict[str, StationLine] = {}
    doubted: dict[str, dict[str, StationLine]] = {}  # by USB serial number
    for line in lines:
        if line.get("event") not in _STATES:
            continue
        uid, serial = str(line.get("uid")), str(line.get("usb_serial"))
        if not uid:
            twins = [each for each in found if serial_of(each) == serial]
            doubted.setdefault(serial, {}).update((each, found.pop(each)) for each in twins)
            continue
        if "usb_serial" in line:
            found |= doubted.pop(serial, {})
        doubted.get(serial_of(uid), {}).pop(uid, None)
        found.pop(uid, None)
        if proven_twice(line):
            found[uid] = line
    return found


def serial_of(uid: object) -> str:
    """Return the USB serial number of the chip with this unique id; empty for what is none."""
    content = parse_uid(uid)
    return "" if content is None else usb_serial(content)


def proven_twice(line: Mapping[str, object]) -> bool:
    """Return whether the board showed a signed sample before and after a power cycle."""
    samples = (line.get("sample"), line.get("sample_after_power_cycle"))
    first, second = (_SAMPLE.fullmatch(str(each)) for each in samples)
    if line.get("event") != PROVEN or first is None or second is None:
        return False
    return int(second[1]) > int(first[1])
