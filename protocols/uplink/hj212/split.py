"""How a body that is longer than a frame allows becomes several (HJ 212-2017 table 3, C.49, C.50).

Each part repeats ``DataTime``; a factor, with all its values, stays in one part.
"""

from typing import Final

from protocols.wire.errors import TOO_LONG, LocalError

from .message import MAX_SEGMENT, Body, body_text

# Beside the longest header of table 3: QN 20, ST 5, CN 7, PW 9, MN 27, Flag 8, PNUM 9, PNO 8, RF 4,
# each with its semicolon, and CP=&&&&.
PART_BYTES: Final = MAX_SEGMENT - 113
_REPEATED: Final = ("DataTime", "PolId")


def split_body(body: Body, encoding: str = "utf-8", limit: int = PART_BYTES) -> list[Body]:
    """Return the parts of a body; LocalError if one item alone is too long for a frame."""
    head = tuple(item for item in body if item and item[0][0] in _REPEATED)
    rest = [item for item in body if item not in head]
    head_size = len(body_text(head).encode(encoding))
    parts: list[Body] = []
    part, size = list(head), head_size
    for item in rest:
        needs = len(body_text((item,)).encode(encoding)) + 1
        if size + needs > limit and len(part) > len(head):
            parts.append(tuple(part))
            part, size = list(head), head_size
        if size + needs > limit + 1:
            raise LocalError(TOO_LONG, f"{item[0][0]} in one frame", -1, limit, size + needs)
        part.append(item)
        size += needs
    if part or not parts:
        parts.append(tuple(part))
    return parts
