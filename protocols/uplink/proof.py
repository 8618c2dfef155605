"""Proof that a record's values are what its node signed: the frame in the record, checked again.

A gateway's signature proves what the gateway read. With the node's key, the frame in a node's
record proves what the node measured, without trust in the gateway.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Final, TypeAlias

from protocols.identity import uid_of
from protocols.wire.errors import BAD_VALUE, UNKNOWN
from protocols.wire.hmac import HmacSha256
from protocols.wire.register_names import QUALITY_NAMES
from protocols.wire.registers import OK, RegisterMap
from protocols.wire.sample import Header, Sample, decode, decode_events, read_header, verify

from .errors import FormatError
from .record_read import decode_record
from .record_types import EVENTS, SAMPLE, Decoded, Failure, NodeEvent, RecordPoint
from .record_write import event_record, sample_record

_MAX_QUALITIES: Final = 256  # combinations of which points have a value

# (unique id, key id) -> the node's key; None for a node or a key that is not known.
NodeKeyLookup: TypeAlias = Callable[[bytes, int], HmacSha256 | None]


def check_proof(record: Decoded, node_keys: NodeKeyLookup) -> Header:
    """Verify the frame of a SAMPLE or EVENTS record and that the record follows from it.

    Return the frame's header. PeerError: UNKNOWN (no such key), BAD_TAG (the frame is not by the
    holder of the node's key), BAD_VALUE (the record's values do not follow from its frame), and
    what a damaged frame raises (TRUNCATED, UNKNOWN, BAD_VALUE).
    """
    if record.frame is None or record.kind not in (SAMPLE, EVENTS):
        raise FormatError(BAD_VALUE, "frame", -1, "a record of kind 1 or 2", record.kind)
    uid = uid_of(record.device_id)
    header = read_header(record.frame)
    mac = node_keys(uid, header.key_id)
    if mac is None:
        message = f"key of node {record.device_id}"
        raise FormatError(UNKNOWN, "key_id", -1, "a known key", header.key_id, message)
    verify(record.frame, mac, uid)
    if record.kind == SAMPLE:
        sample = decode(record.frame, header)
        if _follows(record, sample):
            return header
        data = sample_record(record.device_id, sample, record.frame, record.stamp).data
    else:
        _, events = decode_events(record.frame, header)
        # The frame does not show which events were new to the gateway; they must be its newest.
        after = record.events[0].number - 1 if record.events else header.seq
        data = event_record(
            record.device_id, header, events, record.frame, record.stamp, after
        ).data
    _compare(record, decode_record(data))
    return header


def _follows(record: Decoded, sample: Sample) -> bool:
    """Return whether a record has what its frame has, point by point.

    False may also mean: it has the same in another way.
    """
    points, failures, factors = _expected(sample.map, sample.quality)
    numbers = tuple(
        raw * factor
        for raw, quality, factor in zip(sample.raw, sample.quality, factors, strict=True)
        if quality == OK
    )
    return (
        record.status == sample.header.status
        and record.numbers == numbers
        and record.points == points
        and record.failures == failures
    )


@lru_cache(maxsize=_MAX_QUALITIES)
def _expected(
    map_: RegisterMap, quality: tuple[int, ...]
) -> tuple[tuple[RecordPoint, ...], tuple[Failure, ...], tuple[int, ...]]:
    """Return the points and the failures of a frame, and what its numbers are multiplied by."""
    both = list(zip(map_.points, quality, strict=True))
    return (
        tuple(
            RecordPoint(point.name, point.unit, 10 ** max(-point.exp10, 0))
            for point, code in both
            if code == OK
        ),
        tuple(Failure(point.name, QUALITY_NAMES[code]) for point, code in both if code != OK),
        tuple(10 ** max(point.exp10, 0) for point in map_.points),
    )


def _compare(record: Decoded, proven: Decoded) -> None:
    if record.status != proven.status:
        raise _differs("status", proven.status, record.status)
    if _aligned(record.events) != _aligned(proven.events):
        raise _differs("events", _short(proven.events), _short(record.events))
    # The time of the response by the node's clock is the gateway's estimate. But the frame was made
    # before the response, so an event cannot be later than it is in the frame.
    if record.events and record.events[0].offset_ms > proven.events[0].offset_ms:
        got = record.events[0].offset_ms
        raise _differs("time of the events", f"{proven.events[0].offset_ms} ms or less", got)
    recorded = {value.name: value for value in record.values}
    for value in proven.values:
        if recorded.get(value.name) != value:
            raise _differs(value.name, value, recorded.get(value.name))
    if record.values != proven.values:
        raise _differs("names of the values", _names(proven), _names(record))
    if record.failures != proven.failures:
        raise _differs("failed points", _short(proven.failures), _short(record.failures))


def _aligned(events: tuple[NodeEvent, ...]) -> list[NodeEvent]:
    """Return the events with their times counted from the first of them."""
    return [event._replace(offset_ms=event.offset_ms - events[0].offset_ms) for event in events]


def _differs(field: str, expected: object, got: object) -> FormatError:
    message = f"{field} of the record does not follow from the node's frame"
    return FormatError(BAD_VALUE, field, -1, expected, got, message)


def _names(record: Decoded) -> str:
    return _short([value.name for value in record.values])


def _short(value: object) -> str:
    return repr(value)[:200]
