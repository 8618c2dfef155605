"""What a device answers to each command of a platform, and what it may change.

A command that changes something needs ``allow_control``; without it the answer is QnRtn=2 (refused,
HJ 212-2017 tables 5 to 9). A command that the standard has and the site has not is refused the same
way, an unknown one is QnRtn=8. A question that the site has no data for is ExeRtn=100.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from protocols.wire.errors import LocalError

from .beijing import data_time, parse_data_time
from .commands import (
    COMMANDS,
    EXE_CONDITION,
    EXE_DONE,
    EXE_FAILED,
    EXE_NO_DATA,
    QN_CN,
    QN_MN,
    QN_PASSWORD,
    QN_READY,
    QN_REFUSED,
    QN_ST,
)
from .errors import Hj212Error
from .message import Body, Hj212Message
from .options import Hj212Options, Hj212Settings
from .site import Hj212Site, Moment
from .sm4 import KEY_BYTES

CONTROL: Final = frozenset(
    ("1000", "1002", "1012", "1014", "1062", "1064", "1072", "2012", "2022", "3021")
)
NOTICES: Final = frozenset(("2012", "2022", "9015"))  # answered by 9013 (annex C.11, C.13)
HISTORY: Final = frozenset(("2031", "2041", "2051", "2061"))
_QUESTIONS: Final = frozenset(("3015", "3019", "3020"))
_HEX_KEY: Final = re.compile(r"[0-9A-Fa-f]{32}")
# Name in the message, name in the settings, whether it is seconds, minutes or a count.
_NUMBERS: Final = {
    "1000": (("OverTime", "over_time_s"), ("ReCount", "re_count")),
    "1062": (("RtdInterval", "rtd_interval_s"),),
    "1064": (("MinInterval", "min_interval_min"),),
}
_SHOWN: Final = {"1061": "1062", "1063": "1064"}


@dataclass(frozen=True, slots=True)
class PlatformAnswer:
    """What to send for one command: 9011, the bodies, 9012; or 9013 alone for a notice."""

    qn_return: int
    exe_return: int | None = None  # None: done if there was a body, else no data
    bodies: Iterator[Body] | None = None
    settings: Hj212Settings | None = None
    detail: str = ""
    is_notice: bool = False
    parameter: tuple[str, str, str] | None = None  # PolId, InfoId, value: its result comes later


def _refused(qn_return: int, detail: str) -> PlatformAnswer:
    return PlatformAnswer(qn_return, detail=detail)


def _condition(detail: str) -> PlatformAnswer:
    return PlatformAnswer(QN_READY, EXE_CONDITION, detail=detail)


def answer_command(
    message: Hj212Message,
    options: Hj212Options,
    settings: Hj212Settings,
    site: Hj212Site,
    now: Moment,
) -> PlatformAnswer:
    """Return the answer to a command; nothing is changed but what the site itself sets."""
    if message.cn not in COMMANDS or (message.cn.startswith("90") and message.cn != "9015"):
        return _refused(QN_CN, "unknown command")
    if message.mn != options.mn:
        return _refused(QN_MN, "another MN")
    if message.pw != settings.pw:
        return _refused(QN_PASSWORD, "another PW")
    if message.st not in (options.st, "91"):
        return _refused(QN_ST, f"another ST: {message.st[:8]}")
    if message.cn in CONTROL and not options.allow_control:
        return _refused(QN_REFUSED, "changes something, and allow_control is false")
    try:
        return _answer(message, options, settings, site, now)
    except Hj212Error as error:
        return _condition(str(error))


def _answer(
    message: Hj212Message,
    options: Hj212Options,
    settings: Hj212Settings,
    site: Hj212Site,
    now: Moment,
) -> PlatformAnswer:
    cn = message.cn
    if cn in HISTORY:
        return _history(message, site)
    if cn in _NUMBERS or cn in ("1072", "1014"):
        return _set(message, settings)
    if cn in _SHOWN:
        rows = tuple(((name, str(getattr(settings, key))),) for name, key in _NUMBERS[_SHOWN[cn]])
        return PlatformAnswer(QN_READY, EXE_DONE, iter((rows,)))
    if cn == "1011":
        return _time(message, now)
    if cn == "1012":
        moment = parse_data_time(message.value("SystemTime") or "")
        is_set = site.set_time(moment)
        detail = f"SystemTime={data_time(moment)}, {(moment - now.unix_ms) / 1000:+.0f} s from ours"
        return PlatformAnswer(QN_READY, EXE_DONE if is_set else EXE_FAILED, detail=detail)
    if cn in ("2011", "2021"):
        body = site.latest(cn)
        after = _switched(settings, cn, is_on=True) if options.allow_control else settings
        changed = None if after == settings else after
        return PlatformAnswer(QN_READY, None, None if body is None else iter((body,)), changed)
    if cn in ("2012", "2022"):
        return PlatformAnswer(
            QN_READY, settings=_switched(settings, cn, is_on=False), is_notice=True
        )
    if cn == "9015":
        return PlatformAnswer(QN_READY, is_notice=True)
    if cn in _QUESTIONS:
        found = site.information(cn, message.value("PolId") or "", message.value("InfoId") or "")
        return PlatformAnswer(QN_READY, None, iter(found))
    if cn == "3021":
        return _parameter(message, site)
    return _refused(QN_REFUSED, "the site has not what this command asks for")


def _switched(settings: Hj212Settings, cn: str, *, is_on: bool) -> Hj212Settings:
    if cn in ("2011", "2012"):
        return replace(settings, realtime_on=is_on)
    return replace(settings, status_on=is_on)


def _history(message: Hj212Message, site: Hj212Site) -> PlatformAnswer:
    begin, end = message.value("BeginTime"), message.value("EndTime")
    if begin is None or end is None:
        return _condition("BeginTime and EndTime are missing")
    begin_ms, end_ms = parse_data_time(begin), parse_data_time(end)
    if end_ms < begin_ms:
        return _condition(f"EndTime {end} is before BeginTime {begin}")
    bodies = site.history(message.cn, begin_ms, end_ms)
    return PlatformAnswer(QN_READY, None, bodies, detail=f"{begin} to {end}")


def _set(message: Hj212Message, settings: Hj212Settings) -> PlatformAnswer:
    changes: dict[str, int | str | bytes] = {}
    shown = []
    for name, field in _NUMBERS.get(message.cn, ()):
        text = message.value(name)
        if text is not None:
            if not text.isascii() or not text.isdigit() or len(text) > 6:
                return _condition(f"{name} is no number")
            changes[field] = int(text)
            shown.append(f"{name} {getattr(settings, field)} -> {text}")
    if message.cn == "1072":
        word = message.value("NewPW")
        if word:
            changes["pw"] = word
            shown.append("PW")
    if message.cn == "1014":
        key_text = message.value("NewSK") or ""
        key = bytes.fromhex(key_text) if _HEX_KEY.fullmatch(key_text) else key_text.encode()
        if len(key) != KEY_BYTES:
            return _condition("NewSK is not 16 bytes, or 32 hexadecimal digits")
        changes["key"] = key
        shown.append("SM4 key")
    if not changes:
        return _condition("nothing to set")
    try:
        changed = replace(settings, **changes).checked()  # type: ignore[arg-type] # the table's names
    except LocalError as error:
        return _condition(f"{error.message} is outside what the standard allows")
    return PlatformAnswer(QN_READY, EXE_DONE, settings=changed, detail=", ".join(shown))


def _time(message: Hj212Message, now: Moment) -> PlatformAnswer:
    # The gateway dates every reading, so its clock is that of each instrument too.
    pol_id = message.value("PolId")
    moment = ("SystemTime", data_time(now.unix_ms))
    body: Body = ((moment,),) if pol_id is None else ((("PolId", pol_id),), (moment,))
    return PlatformAnswer(QN_READY, EXE_DONE, iter((body,)))


def _parameter(message: Hj212Message, site: Hj212Site) -> PlatformAnswer:
    pol_id, info_id = message.value("PolId") or "", message.value("InfoId") or ""
    value = message.value(f"{info_id}-Info")
    if not info_id or value is None:
        return _condition("InfoId and its value are missing")
    is_set = site.set_parameter(pol_id, info_id, value)
    if is_set is None:
        return PlatformAnswer(QN_READY, parameter=(pol_id, info_id, value))
    if is_set:
        return PlatformAnswer(QN_READY, EXE_DONE, detail=f"{pol_id} {info_id}={value}")
    return PlatformAnswer(QN_READY, EXE_NO_DATA, detail=f"{pol_id} {info_id}: the site has none")
