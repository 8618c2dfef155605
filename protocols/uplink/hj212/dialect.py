"""How one platform writes HJ 212 frames: what the writer needs beside the message itself.

The defaults are HJ 212-2017. What differs elsewhere is from implementations, not from a text.
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from .checksum import ChecksumKind

ENCODINGS: Final = ("utf-8", "gbk")


class QnForm(Enum):
    """How a request number is written."""

    TIME = "time"  # YYYYMMDDhhmmsszzz, table 3
    UNIX_MS = "unix-ms"  # 13 digits; seen in implementations
    ABSENT = "absent"  # frames without QN; seen in implementations

    def allows(self, qn: str | None) -> bool:
        """Whether ``qn`` is a request number of this form."""
        if qn is None:
            return self is QnForm.ABSENT
        return bool(_QN[self].fullmatch(qn))


_QN: Final = {
    QnForm.TIME: re.compile(r"[12][0-9]{3}[01][0-9][0-3][0-9][0-2][0-9][0-5][0-9][0-6][0-9]{4}"),
    QnForm.UNIX_MS: re.compile(r"[0-9]{13}"),
    QnForm.ABSENT: re.compile(r"(?!)"),
}


@dataclass(frozen=True, slots=True)
class Hj212Dialect:
    """How frames are written for one platform."""

    checksum: ChecksumKind = ChecksumKind.HJ
    lower_case: bool = False  # the digits of the checksum; the standard's examples have upper case
    encoding: str = "utf-8"  # one of ENCODINGS
    terminator: bytes = b"\r\n"  # 6.3.1 table 2; some platforms take none
    qn: QnForm = QnForm.TIME
    split_flag_alone: bool = False  # bit D of Flag without PNUM and PNO; seen in requests of 2005
