"""Batches one after the other in one input (a CBOR sequence, RFC 8742)."""

from typing import Final

from protocols.wire.errors import TOO_LONG, TRUNCATED, UNKNOWN

from .batch import MAX_BATCH_BYTES, parse_batch
from .cbor import COSE_SIGN1, kind_of, read, read_head
from .cose import MAX_OVERHEAD_BYTES, MAX_UNPROTECTED_BYTES
from .errors import FormatError

_BEGIN: Final = b"\xd2\x84"  # tag 18, array of 4
_MAX_TRIES: Final = 1000


def end_of(data: bytes, at: int) -> int:
    """Return where the batch that begins at ``at`` ends, by its lengths alone.

    FormatError if the lengths are wrong or the input ends before; its offset counts from ``at``.
    """
    most = MAX_BATCH_BYTES + MAX_OVERHEAD_BYTES
    part = data[at : at + most]
    tag, end = _expect(part, 0, 6, "tag of the batch")
    if tag != COSE_SIGN1:
        raise FormatError(UNKNOWN, "tag of the batch", 0, COSE_SIGN1, tag)
    count, end = _expect(part, end, 4, "COSE_Sign1")
    if count != 4:
        raise FormatError(TRUNCATED, "COSE_Sign1", 1, "array of 4", f"array of {count}")
    for what in ("protected header", "", "payload", "signature"):
        if not what:
            header, end = read(part[: end + MAX_UNPROTECTED_BYTES], end)
            if not isinstance(header, dict):
                raise FormatError(UNKNOWN, "unprotected header", end, "map", kind_of(header))
            continue
        length, begin = _expect(part, end, 2, what)
        end = begin + length
        if end > most:
            raise FormatError(TOO_LONG, what, begin, f"a batch of {most} bytes", length)
        if end > len(part):
            raise FormatError(TRUNCATED, what, begin, f"{length} bytes", len(part) - begin)
    return at + end


def _expect(data: bytes, at: int, major: int, what: str) -> tuple[int, int]:
    if at < len(data) and data[at] >> 5 != major:
        raise FormatError(UNKNOWN, what, at, f"CBOR major type {major}", data[at] >> 5)
    return read_head(data, at)


def resume(data: bytes, at: int) -> int:
    """Return where the next whole batch begins, searching from ``at``; -1 if there is none.

    Gives up after _MAX_TRIES places that only look like one.
    """
    for _ in range(_MAX_TRIES):
        at = data.find(_BEGIN, at)
        if at < 0:
            break
        try:
            parse_batch(data[at : end_of(data, at)])
        except FormatError:
            at += 1
        else:
            return at
    return -1
