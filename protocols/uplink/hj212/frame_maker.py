"""Makes a device's frames: who it is, a request number used once, Flag, parts and encryption."""

from typing import Final

from .beijing import HOUR_MS, request_number
from .dialect import QnForm
from .frame import write_frame
from .message import Body, Cipher, Hj212Message, flag_of
from .options import Hj212Options, Hj212Settings
from .site import Moment
from .sm4 import Sm4Text

AHEAD_MS: Final = HOUR_MS  # a clock set back by less lets request numbers run on above the old


class FrameMaker:
    """Makes the frames of one device for one platform."""

    def __init__(self, options: Hj212Options, last_qn_ms: int = 0) -> None:
        self._options = options
        self.last_qn_ms = last_qn_ms

    def new_qn(self, now: Moment) -> str:
        """Return a request number above all before it, but for those of a clock far ahead."""
        if self.last_qn_ms > now.unix_ms + AHEAD_MS:
            self.last_qn_ms = 0
        self.last_qn_ms = max(now.unix_ms, self.last_qn_ms + 1)
        if self._options.dialect.qn is QnForm.UNIX_MS:
            return str(self.last_qn_ms)
        return request_number(self.last_qn_ms)

    def frame(
        self,
        settings: Hj212Settings,
        cn: str,
        body: Body,
        qn: str,
        wants_ack: bool,
        *,
        is_answer: bool = False,
        part: tuple[int, int] | None = None,
        is_backfill: bool = False,
    ) -> bytes:
        """Return a frame; ``part``: which of how many."""
        options = self._options
        numbers = part if options.splits_with_numbers else None
        message = Hj212Message(
            st=(options.answer_st or options.st) if is_answer else options.st,
            cn=cn,
            pw=settings.pw,
            mn=options.mn,
            body=body,
            qn=None if options.dialect.qn is QnForm.ABSENT else qn,
            flag=flag_of(options.version, wants_ack, numbers is not None),
            pnum=numbers[1] if numbers else None,
            pno=numbers[0] if numbers else None,
            is_backfill=is_backfill and options.marks_backfill,
        )
        return write_frame(message, options.dialect, _cipher(settings, cn))


def _cipher(settings: Hj212Settings, cn: str) -> Cipher | None:
    # HJ 212-2025 6.4.4 (from implementations): 2000 to 2999, 1014 and 3020.
    if settings.key and (cn.startswith("2") or cn in ("1014", "3020")):
        return Sm4Text(settings.key).encrypt
    return None
