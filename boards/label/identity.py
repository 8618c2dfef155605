"""The text in a label's QR code: which board this is, safe against a wrong character.

``TF1|class|serial|check``: the class is the board's name in ``tianfu-node boards``, the serial is
the chip's unique id, and the check are the two characters of ISO/IEC 7064, MOD 1271-36, over the
letters and digits before them. The text is an identifier: whoever reads it can do nothing with it.
"""

import re
import string
from dataclasses import dataclass
from typing import Final

from protocols.identity import UID_PATTERN

from .errors import LabelError

PREFIX: Final = "TF1"
CLASS_PATTERN: Final = r"[a-z0-9_]{1,32}"

_CHARACTERS: Final = string.digits + string.ascii_uppercase
_MODULUS: Final = 1271


@dataclass(frozen=True, slots=True)
class LabelIdentity:
    """Which board a label names."""

    board: str
    uid: str

    @property
    def text(self) -> str:
        """What the QR code holds."""
        body = f"{PREFIX}|{self.board}|{self.uid}"
        return f"{body}|{check_characters(body)}"


def check_characters(text: str) -> str:
    """Return the two check characters of ISO/IEC 7064, MOD 1271-36.

    Upper and lower case count alike; what is neither a letter nor a digit is left out.
    """
    value = 0
    for character in text.upper():
        if character in _CHARACTERS:
            value = (value + _CHARACTERS.index(character)) * 36 % _MODULUS
    check = (1 - value * 36) % _MODULUS
    return _CHARACTERS[check // 36] + _CHARACTERS[check % 36]


def read_back(text: str) -> LabelIdentity:
    """Return the board that a scanned or typed text names. LabelError for any other text.

    Case does not matter: a scanner types capitals while Caps Lock is on.
    """
    parts = text.strip().split("|")
    if len(parts) != 4 or parts[0].upper() != PREFIX:
        raise LabelError(
            f"label: expected {PREFIX}|class|serial|check, got {text.strip()[:80]!r}; scan the QR "
            "code of a label, with the scanner set to the keyboard layout of this computer"
        )
    board, uid, check = parts[1].lower(), parts[2].lower(), parts[3].upper()
    if not re.fullmatch(CLASS_PATTERN, board) or not re.fullmatch(UID_PATTERN, uid):
        raise LabelError(
            f"label: expected the name of a board and a serial of 24 hex digits, got {board[:40]!r}"
            f" and {uid[:40]!r}; scan the label again"
        )
    identity = LabelIdentity(board, uid)
    wanted = check_characters(f"{PREFIX}|{board}|{uid}")
    if check != wanted:
        raise LabelError(
            f"label: expected the check characters {wanted} for {board} {uid}, got {check[:8]!r}: "
            "a character is wrong; scan the label again, and print a new one if it is damaged"
        )
    return identity
