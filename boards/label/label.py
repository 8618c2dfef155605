"""What stands on a label, taken from the line that a proven board has in the station log.

The line is written once, when the board has proven itself before and after a power cycle; its
values are those that the node itself showed. There is no other way to a label.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from protocols.identity import UID_PATTERN
from protocols.station_log import PROVEN, proven_twice
from protocols.wire.node_key import MAX_KEY_ID
from protocols.wire.registers import MAPS

from .errors import LabelError
from .identity import CLASS_PATTERN, LabelIdentity

__all__ = ["Label", "LabelError"]

# A label of a common sheet of 24: 3 columns of 8 fill A4.
WIDTH_MM: Final = 70.0
HEIGHT_MM: Final = 37.0
QR_MM: Final = 33.0  # with its quiet zone
MARGIN_MM: Final = 2.0

_ROLES: Final = "|".join(each.role for each in MAPS)
_DIGEST: Final = r"[0-9a-f]{64}"


@dataclass(frozen=True, slots=True)
class Label:
    """One label. ``uid`` is the serial, ``image`` the SHA-256 of what runs on the board."""

    board: str
    role: str
    unit: int
    uid: str
    image: str
    key_id: int

    @classmethod
    def of_line(cls, line: Mapping[str, object]) -> "Label":
        """Make the label of a station log's line. LabelError if it does not show both proofs."""
        uid = line.get("uid")
        if line.get("event") != PROVEN:
            raise LabelError(
                f"{uid}: expected a board that has proven itself, got one that is "
                f"{line.get('event')!r}; flash it again"
            )
        if not proven_twice(line):
            raise LabelError(
                f"{uid}: expected a sample before and one after a power cycle, got "
                f"{line.get('sample')!r} and {line.get('sample_after_power_cycle')!r}; a board "
                "that did not prove itself twice gets no label: flash it again"
            )
        return cls(
            _text(line, "board", CLASS_PATTERN),
            _text(line, "role", _ROLES),
            _number(line, "unit", 247),
            _text(line, "uid", UID_PATTERN),
            _text(line, "image", _DIGEST),
            _number(line, "key_id", MAX_KEY_ID),
        )

    @property
    def text(self) -> str:
        """What the QR code holds."""
        return LabelIdentity(self.board, self.uid).text

    @property
    def lines(self) -> tuple[str, ...]:
        """What a person reads beside the code, the most important first."""
        groups = [self.uid[at : at + 4] for at in range(0, len(self.uid), 4)]
        half = len(groups) // 2
        return (
            f"{self.role} {self.unit}",
            self.board,
            " ".join(groups[:half]),
            " ".join([*groups[half:], self.text[-2:]]),
            f"image {self.image[:8]}",
            f"key {self.key_id}",
        )


def _text(line: Mapping[str, object], name: str, pattern: str) -> str:
    value = line.get(name)
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise _unusable(line, name)
    return value


def _number(line: Mapping[str, object], name: str, largest: int) -> int:
    value = line.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= largest:
        raise _unusable(line, name)
    return value


def _unusable(line: Mapping[str, object], name: str) -> LabelError:
    return LabelError(
        f"station log, board {line.get('uid')!r}: expected a {name} that a node can have, got "
        f"{line.get(name)!r}; flash the board again"
    )
