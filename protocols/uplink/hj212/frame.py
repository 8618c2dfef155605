"""Frames of HJ 212 in a stream of bytes: a strict writer and a reader that finds its place again.

A frame is ``##``, LEN in four decimal digits, the data segment, four digits of checksum, CR LF
(HJ 212-2017 6.3.1, table 2). A reader sees frames cut and joined by TCP, without CR LF, after
noise, with a LEN that is wrong. It believes LEN only where ``&&`` and four hexadecimal digits stand
at the end that LEN gives; else it looks for the next ``##``. Encrypted text may hold ``##`` and
``&&``, so nothing inside a frame is searched before the frame has failed.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from protocols.uplink.resync import FEW_DAMAGED, CheckBudget
from protocols.wire.errors import BAD_VALUE, LocalError

from .checksum import HJ_VALUES, ChecksumKind, checksum
from .dialect import Hj212Dialect
from .errors import Hj212Error
from .message import Cipher, Hj212Message, map_cp, read_segment, write_segment

MAX_READ_SEGMENT: Final = 4096  # four times what the standard allows: some platforms exceed it
MAX_SHOWN: Final = 160  # bytes of a rejected frame that its error keeps

_MARK: Final = re.compile(b"##(?!#)")  # no LEN begins with one
_HEAD: Final = 6  # ## and LEN
_SUM: Final = 4
_TAIL: Final = re.compile(rb"&&[0-9A-Fa-f]{4}")


@dataclass(frozen=True, slots=True)
class AcceptedFrame:
    """A frame that is right, and its bytes as they came, without the line's end."""

    message: Hj212Message
    raw: bytes


@dataclass(frozen=True, slots=True)
class RejectedFrame:
    """Bytes that are no frame, and the rule that they break; ``raw`` is their beginning."""

    error: Hj212Error
    raw: bytes


def write_frame(
    message: Hj212Message, dialect: Hj212Dialect, encrypt: Cipher | None = None
) -> bytes:
    """Return the frame of a message, with the line's end.

    With ``encrypt`` the text between ``CP=&&`` and ``&&`` is encrypted after the checksum was taken
    over the clear text (HJ 212-2025 6.4.2; from implementations, not from the text).
    """
    segment = write_segment(message, dialect)
    digits = f"{checksum(segment, dialect.checksum):04X}"
    if encrypt is not None:
        clear = len(segment)
        segment = map_cp(segment, encrypt)
        if len(segment) != clear:
            raise LocalError(BAD_VALUE, "a cipher keeps the length", -1, clear, len(segment))
    if dialect.lower_case:
        digits = digits.lower()
    return b"##%04d%b%b%b" % (len(segment), segment, digits.encode(), dialect.terminator)


class Hj212Reader:
    """Finds frames in what a peer sends; holds twice ``MAX_READ_SEGMENT`` bytes and ten at most.

    ``decrypt`` is for what an encrypted platform sends: it is given the text between ``CP=&&`` and
    ``&&``. A frame whose checksum is right as it came is clear text, also then: answers and
    commands below 2000 are never encrypted (HJ 212-2025 6.4.4; from implementations).
    """

    def __init__(self, kind: ChecksumKind = ChecksumKind.HJ, decrypt: Cipher | None = None) -> None:
        self.kind = kind
        self.decrypt = decrypt
        self._buffer = bytearray()
        self._budget = CheckBudget()

    @property
    def held(self) -> int:
        """How many bytes wait for the rest of their frame."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[AcceptedFrame | RejectedFrame]:
        """Return what became complete with ``data``."""
        found: list[AcceptedFrame | RejectedFrame] = []
        for at in range(0, len(data), MAX_READ_SEGMENT):
            self._buffer += data[at : at + MAX_READ_SEGMENT]
            found.extend(self._take(is_over=False))
        return found

    def silence(self) -> list[AcceptedFrame | RejectedFrame]:
        """Return what is left when no more will come for what is incomplete."""
        return list(self._take(is_over=True))

    def _take(self, *, is_over: bool) -> Iterator[AcceptedFrame | RejectedFrame]:
        buffer = self._buffer
        at = counted = 0
        while at < len(buffer):
            mark = _MARK.search(buffer, at)
            if mark:
                begin = mark.start()
            else:  # the last byte may be the first half of a mark
                begin = len(buffer) - (buffer.endswith(b"#") and not is_over)
            if buffer[at:begin].strip():
                noise = bytes(buffer[at:begin])
                error = Hj212Error.broken("frame", expected="##", got=f"{len(noise)} other bytes")
                yield RejectedFrame(error, noise[:MAX_SHOWN])
            at = begin
            if at == len(buffer):
                break
            behind = at + 1  # the mark there may be the frame that this one's LEN hid
            try:
                end = self._end_of(at, is_over)
                if end is None:
                    break
                raw = bytes(buffer[at:end])
                self._expect_tail(raw)
                self._budget.passed(at - counted)
                counted = at
                if not self._budget.covers(len(raw)):
                    behind = end
                    raise Hj212Error.broken("CRC", len(raw) - _SUM, FEW_DAMAGED, "more")
                found = AcceptedFrame(self._read(raw), raw)
            except Hj212Error as error:
                yield RejectedFrame(error, bytes(buffer[at : at + MAX_SHOWN]))
                following = _MARK.search(buffer, behind)
                at = following.start() if following else len(buffer)
                if following is None and buffer.endswith(b"#") and not is_over:
                    at -= 1
                continue
            yield found
            at = end
        self._budget.passed(at - counted)
        del buffer[:at]

    def _end_of(self, at: int, is_over: bool) -> int | None:
        """Return where the frame ends that begins at ``at``; None while its rest is to come."""
        buffer = self._buffer
        length = bytes(buffer[at + 2 : at + _HEAD])
        if not (length.isdigit() or (not length and not is_over)):
            raise Hj212Error.broken("LEN", 2, "four decimal digits", repr(length))
        if len(length) < 4:
            if is_over:
                raise Hj212Error.incomplete(0, _HEAD, len(buffer) - at)
            return None
        size = int(length)
        if size > MAX_READ_SEGMENT:
            raise Hj212Error.broken("segment", 2, f"at most {MAX_READ_SEGMENT}", size)
        end = at + _HEAD + size + _SUM
        if len(buffer) < end:
            if is_over:
                raise Hj212Error.incomplete(0, end - at, len(buffer) - at)
            return None
        return end

    def _read(self, raw: bytes) -> Hj212Message:
        segment, received = raw[_HEAD:-_SUM], int(raw[-_SUM:], 16)
        computed = checksum(segment, self.kind)
        if computed != received and self.decrypt is not None:
            clear = map_cp(segment, self.decrypt)
            if checksum(clear, self.kind) == received:
                return read_segment(clear)
        if computed == received:
            return read_segment(segment)
        expected = f"{computed:04X}"
        if self.kind is ChecksumKind.HJ and received not in HJ_VALUES:
            kind = "other"
            if checksum(segment, ChecksumKind.MODBUS) == received:
                kind = "CRC-16/MODBUS"
            raise Hj212Error.broken("CRC kind", len(raw) - _SUM, expected, f"{kind} {received:04X}")
        raise Hj212Error.broken("CRC", len(raw) - _SUM, expected, f"{received:04X}")

    @staticmethod
    def _expect_tail(raw: bytes) -> None:
        tail = raw[-_SUM - 2 :]
        if not _TAIL.fullmatch(tail):
            expected = "&& and four hexadecimal digits at its end"
            raise Hj212Error.broken("LEN", 2, expected, repr(tail))
