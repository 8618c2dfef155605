"""Writing records: what was read from a device, as the bytes that are chained, stored and signed.

The layout is in ``docs/formats.md``. Everything here is the gateway's own data, so what does not
fit the format is a LocalError.
"""

from collections.abc import Iterable
from typing import Final

from protocols.identity import IDENTIFIER_RULE, is_identifier
from protocols.wire.errors import BAD_VALUE, TOO_LONG, LocalError
from protocols.wire.registers import EVENT_NAMES, OK, QUALITY_NAMES, Point
from protocols.wire.sample import Event, Header, Sample

from . import cbor, senml
from .fields import MAX_U32
from .record_types import (
    CAUSES,
    CLOCK_NONE,
    CLOCK_SYNCHRONISED,
    EVENT_NAME,
    EVENTS,
    EXTENSION,
    GAP,
    GAP_NAME,
    MAX_DETAIL_LENGTH,
    MAX_FRAME_BYTES,
    MAX_RECORD_BYTES,
    MAX_WALL_MS,
    MIN_WALL_MS,
    QUALITY_SUFFIX,
    SAMPLE,
    STATUS_NAME,
    Gap,
    Record,
    Stamp,
)

_HALF: Final = 1 << 31
_WRAP: Final = 1 << 32


def sample_record(device_id: str, sample: Sample, frame: bytes, stamp: Stamp) -> Record:
    """The record of one sample frame; ``sample`` is ``frame`` decoded, its tag verified.

    A point whose quality is not OK becomes ``<name>/q`` with the quality's name.
    LocalError(BAD_VALUE): the device id, the stamp or the frame's length.
    """
    maps = [_head(device_id, STATUS_NAME, sample.header.status, SAMPLE, stamp, [_frame(frame)])]
    readings = 0
    for point, quality, raw in zip(sample.map.points, sample.quality, sample.raw, strict=True):
        if quality == OK:
            maps.append(_point(point, raw))
            readings += 1
        else:
            maps.append(_quality(point.name, QUALITY_NAMES[quality]))
    return _join(maps, readings, SAMPLE)


def event_record(
    device_id: str,
    header: Header,
    events: Iterable[Event],
    frame: bytes,
    stamp: Stamp,
    after: int,
    node_ms: int | None = None,
) -> Record:
    """The record of one event frame with its events numbered above ``after``.

    The time of an event is given as its distance from the response. ``node_ms`` is the node's clock
    (``t_boot_ms``, 32 bits) at the response, as well as the gateway knows it. Without it the
    frame's own ``t_boot_ms`` is taken, which is too early by the frame's age: a node makes the
    frame at the newest event, not when it is read. LocalError(BAD_VALUE): the device id, the stamp
    or the frame's length.
    """
    if node_ms is None:
        node_ms = header.t_boot_ms
    maps = [_head(device_id, STATUS_NAME, header.status, EVENTS, stamp, [_frame(frame)])]
    for event in events:
        if event.number <= after:
            continue
        # Both wrap at 2**32 ms: the shorter way round is the distance.
        offset = (event.t_boot_ms - node_ms + _HALF) % _WRAP - _HALF
        maps.append(
            {
                senml.NAME: EVENT_NAME,
                senml.STRING: event_name(event.code),
                senml.TIME: senml.decimal(offset, -3),
                EXTENSION: [event.number, event.arg],
            }
        )
    return _join(maps, 0, EVENTS)


def event_name(code: int) -> str:
    """The name of an event code; a code of a later firmware is ``event-<code>``."""
    return EVENT_NAMES.get(code) or f"event-{code}"


def gap_record(device_id: str, gap: Gap, stamp: Stamp) -> Record:
    """The record of a gap. LocalError(BAD_VALUE): an unknown cause, a range upside down, a detail
    over 200 characters, the device id or the stamp.
    """
    if gap.cause not in CAUSES:
        raise LocalError(BAD_VALUE, "cause of a gap", -1, CAUSES, gap.cause)
    if (gap.first is None) != (gap.last is None):
        raise LocalError(BAD_VALUE, "gap", -1, "first and last, or neither", (gap.first, gap.last))
    for value in (gap.boot_epoch, gap.first, gap.last):
        if value is not None and not 0 <= value <= MAX_U32:
            raise LocalError(BAD_VALUE, "gap", -1, f"0 to {MAX_U32}", value)
    if gap.first is not None and gap.last is not None and gap.first > gap.last:
        raise LocalError(BAD_VALUE, "gap", -1, f"last >= {gap.first}", gap.last)
    if len(gap.detail) > MAX_DETAIL_LENGTH:
        limit = f"at most {MAX_DETAIL_LENGTH} characters"
        raise LocalError(BAD_VALUE, "detail of a gap", -1, limit, len(gap.detail))
    tail: list[object] = [gap.boot_epoch, gap.first, gap.last, gap.detail]
    return _join([_head(device_id, GAP_NAME, gap.cause, GAP, stamp, tail)], 0, GAP)


def check_device(device_id: str) -> None:
    """LocalError(BAD_VALUE) unless ``device_id`` can stand in a record."""
    if not is_identifier(device_id):
        raise LocalError(BAD_VALUE, "device id", -1, IDENTIFIER_RULE, device_id)


def check_stamp(stamp: Stamp) -> None:
    """LocalError(BAD_VALUE) unless ``stamp`` keeps its own rules."""
    if not 0 <= stamp.req_ms <= stamp.resp_ms <= MAX_WALL_MS:
        got = (stamp.req_ms, stamp.resp_ms)
        raise LocalError(BAD_VALUE, "stamp", -1, "0 <= req_ms <= resp_ms", got)
    if stamp.resp_ms - stamp.req_ms > MAX_U32:
        raise LocalError(BAD_VALUE, "stamp", -1, "less than 49 days", stamp.resp_ms - stamp.req_ms)
    if not CLOCK_NONE <= stamp.clock_state <= CLOCK_SYNCHRONISED:
        raise LocalError(BAD_VALUE, "clock state", -1, "0 to 3", stamp.clock_state)
    if not 0 <= stamp.unc_ms <= MAX_WALL_MS:
        raise LocalError(BAD_VALUE, "unc_ms", -1, "0 or more", stamp.unc_ms)
    if stamp.wall_ms is None:
        if stamp.clock_state != CLOCK_NONE:
            raise LocalError(BAD_VALUE, "wall_ms", -1, "a time in this clock state", None)
    elif stamp.clock_state == CLOCK_NONE or not MIN_WALL_MS <= stamp.wall_ms <= MAX_WALL_MS:
        expected = f"None without a clock, else {MIN_WALL_MS} or more"
        raise LocalError(BAD_VALUE, "wall_ms", -1, expected, stamp.wall_ms)


def _head(
    device_id: str, name: str, value: int | str, kind: int, stamp: Stamp, tail: list[object]
) -> dict[int | str, object]:
    check_device(device_id)
    check_stamp(stamp)
    delta = stamp.resp_ms - stamp.req_ms
    head: dict[int | str, object] = {
        senml.NAME: name,
        senml.VALUE if isinstance(value, int) else senml.STRING: value,
        senml.BASE_NAME: device_id + "/",
        EXTENSION: [kind, stamp.req_ms, delta, stamp.clock_state, stamp.unc_ms, *tail],
    }
    if stamp.wall_ms is not None:
        head[senml.BASE_TIME] = stamp.wall_ms / 1000
    return head


def _frame(frame: bytes) -> bytes:
    if len(frame) > MAX_FRAME_BYTES:
        raise LocalError(TOO_LONG, "frame", -1, f"at most {MAX_FRAME_BYTES} bytes", len(frame))
    return bytes(frame)


def _point(point: Point, raw: int) -> dict[int | str, object]:
    entry: dict[int | str, object] = {senml.NAME: point.name}
    if point.unit:
        entry[senml.UNIT] = point.unit
    entry[senml.VALUE] = senml.decimal(raw, point.exp10)
    return entry


def _quality(name: str, quality: str) -> dict[int | str, object]:
    return {senml.NAME: name + QUALITY_SUFFIX, senml.STRING: quality}


def _join(maps: list[dict[int | str, object]], readings: int, kind: int) -> Record:
    data = b"".join(map(cbor.encode, maps))
    if len(data) > MAX_RECORD_BYTES:
        raise LocalError(TOO_LONG, "record", -1, f"at most {MAX_RECORD_BYTES} bytes", len(data))
    return Record(data, readings, kind, len(maps))
