"""What an HJ 212 frame says, and how its data segment lies in bytes.

A segment is ``QN=..;ST=..;CN=..;PW=..;MN=..;Flag=..;PNUM=..;PNO=..;CP=&&..&&`` (HJ 212-2017,
table 3). Reading is tolerant: fields may be absent or in another order, because platforms differ.
Writing is strict: :func:`write_segment` refuses what the standard or the dialect does not allow.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from protocols.wire.errors import BAD_VALUE, LocalError

from .dialect import Hj212Dialect
from .errors import RULES, Hj212Error

MAX_SEGMENT: Final = 1024  # bytes, 6.3.1 table 2
MAX_CP: Final = 950  # bytes between the two &&, table 3
ACK_WANTED: Final = 1  # bit A of Flag, table 3
SPLIT: Final = 2  # bit D of Flag: PNUM and PNO stand

Item = tuple[tuple[str, str], ...]  # values that belong together, each with its name
Body = tuple[Item, ...]
Cipher = Callable[[bytes], bytes]

_CP_BEGIN: Final = b"CP=&&"
_CP_END: Final = b"&&"
_HEADER: Final = frozenset(("QN", "ST", "CN", "PW", "MN", "Flag", "PNUM", "PNO", "RF"))
_MAX_NUMBER: Final = 9999
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,40}")
_FREE_TEXT: Final = re.compile(r"//(?:(?!//|&&)[^\r\n]){0,890}//")
_PLAIN: Final = re.compile(r"[^;,=&\x00-\x1f\x7f]*")
_PAIR: Final = re.compile(r"([^=,;]*)=(//.*?//|[^,;]*)([,;]|\Z)", re.DOTALL)
_PLAIN_PAIR: Final = re.compile(r"([^=,;]*)=([^,;]*)([,;]|\Z)")
_FREE_END: Final = re.compile(r"//(?=[,;]|\Z)")
_CHECKS: Final = {
    "ST": re.compile(r"[0-9A-Za-z]{2}"),
    "CN": re.compile(r"[0-9]{4}"),
    "PW": re.compile(r"[^;=&\s]{0,6}"),
    "MN": re.compile(r"[^;=&\s]{0,24}"),
}


@dataclass(frozen=True, slots=True)
class Hj212Message:
    """One frame's meaning. ``None``: the field does not stand in the frame."""

    st: str
    cn: str
    pw: str
    mn: str
    body: Body = ()
    qn: str | None = None
    flag: int | None = None
    pnum: int | None = None
    pno: int | None = None
    is_backfill: bool = False  # RF=1, HJ 212-2025 (from implementations)

    @property
    def wants_ack(self) -> bool:
        """Whether the sender asks for an answer (bit A of Flag)."""
        return self.flag is not None and bool(self.flag & ACK_WANTED)

    def value(self, name: str) -> str | None:
        """Return the first value of this name in the body; None if there is none."""
        for item in self.body:
            for key, value in item:
                if key == name:
                    return value
        return None


def flag_of(version: int, wants_ack: bool, is_split: bool = False) -> int:
    """Return Flag: version (0 2005, 1 2017, 2 2025), D and A (table 3)."""
    return version << 2 | (SPLIT if is_split else 0) | (ACK_WANTED if wants_ack else 0)


def body_text(body: Body) -> str:
    """Return the text between ``CP=&&`` and ``&&``."""
    return ";".join(",".join(f"{name}={value}" for name, value in item) for item in body)


def parse_body(text: str) -> Body:
    """Return the items of the text between ``CP=&&`` and ``&&``; Hj212Error if it is none.

    A value between ``//`` and ``//`` may hold any character (HJ 212-2017 annex C, table C.40).
    """
    items: list[Item] = []
    pairs: list[tuple[str, str]] = []
    at = 0
    # Behind the last of these no free text ends: looking for it from each // costs the square.
    last = max((found.start() for found in _FREE_END.finditer(text)), default=-1)
    while at < len(text):
        if text[at] == ";" and not pairs:  # ;; or ; at the end: seen in implementations
            at += 1
            continue
        found = (_PAIR if at < last else _PLAIN_PAIR).match(text, at)
        if found is None:
            raise Hj212Error.broken("CP", expected="name=value", got=repr(text[at : at + 40]))
        pairs.append((found[1], found[2]))
        at = found.end()
        if found[3] != ",":
            items.append(tuple(pairs))
            pairs = []
    if pairs:
        raise Hj212Error.broken("CP", expected="a value behind the comma", got="the end")
    return tuple(items)


def split_segment(segment: bytes) -> tuple[bytes, bytes]:
    """Return what stands before and after ``CP=&&``, the last without the closing ``&&``."""
    at = segment.find(_CP_BEGIN)
    begin = at + len(_CP_BEGIN)
    if at < 0 or len(segment) < begin + len(_CP_END) or not segment.endswith(_CP_END):
        raise Hj212Error.broken("header", expected="CP=&&...&&", got=repr(segment[-40:]))
    return segment[:at], segment[begin : -len(_CP_END)]


def map_cp(segment: bytes, change: Cipher) -> bytes:
    """Return the segment with the text between ``CP=&&`` and ``&&`` changed."""
    head, cp = split_segment(segment)
    return b"".join((head, _CP_BEGIN, change(cp), _CP_END))


def decode_text(data: bytes) -> str:
    """Return text that is UTF-8 or, if it cannot be that, GBK."""
    for encoding in ("utf-8", "gb18030"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise Hj212Error.broken("text", expected="UTF-8 or GBK", got=repr(data[:40]))


def read_segment(segment: bytes) -> Hj212Message:
    """Return what a data segment in clear text says; Hj212Error names the rule it breaks."""
    head, cp = split_segment(segment)
    fields: dict[str, str] = {}
    for part in decode_text(head).split(";"):
        if part:
            name, sign, value = part.partition("=")
            if not sign or name in fields:
                raise Hj212Error.broken("header", expected="name=value once", got=repr(part[:40]))
            fields[name] = value
    for name in ("ST", "CN", "MN"):
        if name not in fields:
            raise Hj212Error.broken("header", expected=name, got="no such field")
    if not _CHECKS["CN"].fullmatch(fields["CN"]):
        raise Hj212Error.broken("CN", expected="four digits", got=repr(fields["CN"][:40]))
    back = fields.get("RF")
    if back not in (None, "1"):
        raise Hj212Error.broken("RF", expected="1", got=repr(back))
    return Hj212Message(
        st=fields["ST"],
        cn=fields["CN"],
        pw=fields.get("PW", ""),
        mn=fields["MN"],
        body=parse_body(decode_text(cp)),
        qn=fields.get("QN"),
        flag=_number(fields, "Flag", 0, 255),
        pnum=_number(fields, "PNUM", 1, _MAX_NUMBER),
        pno=_number(fields, "PNO", 1, _MAX_NUMBER),
        is_backfill=back == "1",
    )


def _number(fields: dict[str, str], name: str, low: int, high: int) -> int | None:
    text = fields.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or not low <= int(text[:9]) <= high:
        raise Hj212Error.broken(name if name in RULES else "PNUM", got=repr(text[:40]))
    return int(text)


def _refuse(field: str, got: object) -> LocalError:
    return LocalError(BAD_VALUE, f"{field}: {RULES[field]}", -1, None, repr(got))


def write_segment(message: Hj212Message, dialect: Hj212Dialect) -> bytes:
    """Return the data segment in clear text; LocalError for what the dialect does not allow."""
    _check_header(message, dialect)
    parts = []
    if message.qn is not None:
        parts.append(f"QN={message.qn};")
    parts.append(f"ST={message.st};CN={message.cn};PW={message.pw};MN={message.mn};")
    if message.flag is not None:
        parts.append(f"Flag={message.flag};")
    if message.pnum is not None:
        parts.append(f"PNUM={message.pnum};PNO={message.pno};")
    if message.is_backfill:
        parts.append("RF=1;")
    _check_body(message.body)
    cp = _encode(body_text(message.body), dialect)
    if len(cp) > MAX_CP:
        raise _refuse("CP", f"{len(cp)} bytes")
    segment = b"".join((_encode("".join(parts), dialect), _CP_BEGIN, cp, _CP_END))
    if len(segment) > MAX_SEGMENT:
        raise _refuse("segment", f"{len(segment)} bytes")
    return segment


def _encode(text: str, dialect: Hj212Dialect) -> bytes:
    try:
        return text.encode(dialect.encoding)
    except UnicodeEncodeError as error:
        raise _refuse("text", text[error.start : error.end]) from error


def _check_header(message: Hj212Message, dialect: Hj212Dialect) -> None:
    if not dialect.qn.allows(message.qn):
        raise _refuse("QN", message.qn)
    for name, text in (("ST", message.st), ("CN", message.cn), ("PW", message.pw)):
        if not _CHECKS[name].fullmatch(text):
            raise _refuse(name, text)
    if not _CHECKS["MN"].fullmatch(message.mn):
        raise _refuse("MN", message.mn)
    is_split = message.flag is not None and bool(message.flag & SPLIT)
    if message.flag is not None and not 0 <= message.flag <= 255:
        raise _refuse("Flag", message.flag)
    parts = f"Flag={message.flag}, PNUM={message.pnum}, PNO={message.pno}"
    if message.pnum is None or message.pno is None:
        if message.pnum != message.pno or (is_split and not dialect.split_flag_alone):
            raise _refuse("Flag", parts)
    elif not is_split:
        raise _refuse("Flag", parts)
    elif not 1 <= message.pno <= message.pnum <= _MAX_NUMBER:
        raise _refuse("PNUM", parts)


def _check_body(body: Body) -> None:
    for item in body:
        if not item:
            raise _refuse("CP", item)
        for name, value in item:
            form = _FREE_TEXT if value.startswith("//") else _PLAIN
            if not _NAME.fullmatch(name) or not form.fullmatch(value):
                raise _refuse("CP", f"{name}={value}")
