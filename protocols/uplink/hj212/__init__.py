"""HJ 212-2017 and HJ 212-2025, the language between field devices and China's monitoring platforms.

Sans-IO: bytes and times come in as arguments, messages and bytes come out. Statements about the
2017 standard carry their clause; those about HJ 212-2025 are from implementations, not from the
text.
"""

from .checksum import HJ_VALUES, ChecksumKind, checksum, hj_checksum
from .dialect import Hj212Dialect, QnForm
from .errors import RULES, Hj212Error
from .frame import (
    MAX_READ_SEGMENT,
    AcceptedFrame,
    Hj212Reader,
    RejectedFrame,
    write_frame,
)
from .message import (
    MAX_CP,
    MAX_SEGMENT,
    Body,
    Cipher,
    Hj212Message,
    Item,
    body_text,
    flag_of,
    parse_body,
)

__all__ = [
    "HJ_VALUES",
    "MAX_CP",
    "MAX_READ_SEGMENT",
    "MAX_SEGMENT",
    "RULES",
    "AcceptedFrame",
    "Body",
    "ChecksumKind",
    "Cipher",
    "Hj212Dialect",
    "Hj212Error",
    "Hj212Message",
    "Hj212Reader",
    "Item",
    "QnForm",
    "RejectedFrame",
    "body_text",
    "checksum",
    "flag_of",
    "hj_checksum",
    "parse_body",
    "write_frame",
]
