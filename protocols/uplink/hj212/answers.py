"""What a platform's answer to one of our frames means: that it took it, or why it did not.

Data are answered by 9014, a notice by 9013 (HJ 212-2017 annex C). 9011 says whether a request can
be executed, 9012 how it ended. Some platforms put QnRtn or ExeRtn into 9014 too (from
implementations, not from the text).
"""

from typing import Final

from .commands import EXE_DONE, EXE_RETURNS, QN_READY, QN_RETURNS
from .message import Hj212Message

ANSWERS: Final = frozenset(("9011", "9012", "9013", "9014", "9021"))
#: Nothing else says that the platform has the data.
TAKES_DATA: Final = frozenset(("9014",))
#: 9011 only says that the login begins; which of these ends it differs (from implementations).
ENDS_LOGIN: Final = ANSWERS - {"9011"}
#: A notice carries nothing that could be lost, and platforms answer it in any way.
ENDS_NOTICE: Final = ANSWERS

_CODES: Final = (("QnRtn", QN_READY, QN_RETURNS), ("ExeRtn", EXE_DONE, EXE_RETURNS))
_MAX_DIGITS: Final = 4
_MAX_SHOWN: Final = 16


def refusal(message: Hj212Message) -> str:
    """Return why the platform refuses what it answers, in English and Chinese; empty: it does not.

    A code that is no number, or in no table, is a refusal as well.
    """
    for name, good, meanings in _CODES:
        text = message.value(name)
        if text is None:
            continue
        is_number = text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
        code = int(text) if is_number else -1
        if code != good:
            english, chinese = meanings.get(code, ("not in the standard", "标准中没有"))
            return f"CN={message.cn} {name}={text[:_MAX_SHOWN]} ({english} {chinese})"
    return ""
