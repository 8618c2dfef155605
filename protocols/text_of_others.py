"""How text that somebody else wrote gets into a message, on a terminal and in a log.

It stands alone: what reads a configuration, or asks a running gateway, needs no cryptography.
"""

import unicodedata
from typing import Final

_ESCAPED: Final = frozenset(("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"))


def printable(text: str) -> str:
    """Return ``text`` on one line that a terminal and a log show as it is, whoever wrote it.

    Control, format, surrogate and private characters and line separators (Unicode general category
    C*, Zl, Zp) are written as Python's escapes; a backslash stays.
    """
    if text.isprintable():
        return text
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in _ESCAPED
        else character
        for character in text
    )
