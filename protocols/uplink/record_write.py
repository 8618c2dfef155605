"""Writing records: what was read from a device, as the bytes that are chained, stored and signed.

The layout is in ``docs/formats.md``, its tables in :mod:`.record_layout`. Everything here is the
gateway's own data, so what does not fit the format is a LocalError.
"""

from collections.abc import Iterable
from typing import Final

from protocols.wire.errors import TOO_LONG, LocalError
from protocols.wire.register_names import EVENT_NAMES, QUALITY_NAMES
from protocols.wire.registers import OK, Point
from protocols.wire.sample import Event, Header, Sample

from . import cbor, senml
from .checks import IDENTIFIER
from .record_layout import (
    ACTION_FIELDS,
    EVENT,
    FILE_FIELDS,
    FRAME,
    GAP_FIELDS,
    SLOT_FIELDS,
    STAMP,
    STAMP_ITEMS,
    head_name,
    head_value,
)
from .record_types import (
    ACTION,
    EVENT_NAME,
    EVENTS,
    EXTENSION,
    FILE,
    GAP,
    MAX_RECORD_BYTES,
    QUALITY_SUFFIX,
    SAMPLE,
    Action,
    FilePart,
    Gap,
    NodeEvent,
    Record,
    Stamp,
)

_HALF: Final = 1 << 31
_WRAP: Final = 1 << 32


def sample_record(device_id: str, sample: Sample, frame: bytes, stamp: Stamp) -> Record:
    """Return the record of one sample frame; ``sample`` is ``frame`` decoded, its tag verified.

    A point whose quality is not OK becomes ``<name>/q`` with the quality's name.
    LocalError(BAD_VALUE): the device id, the stamp or the frame's length.
    """
    tail = [FRAME.pack(bytes(frame), "frame")]
    head = _head(device_id, SAMPLE, sample.header.status, stamp, tail)
    return _join([head, *sample_points(sample)], sample.quality.count(OK), SAMPLE)


def sample_points(sample: Sample) -> list[dict[int | str, object]]:
    """Return what follows the head in the record of a sample frame: all of it is in the frame."""
    return [
        _point(point, raw) if quality == OK else _failure(point.name, QUALITY_NAMES[quality])
        for point, quality, raw in zip(sample.map.points, sample.quality, sample.raw, strict=True)
    ]


def event_record(
    device_id: str,
    header: Header,
    events: Iterable[Event],
    frame: bytes,
    stamp: Stamp,
    after: int,
    node_ms: int | None = None,
) -> Record:
    """Return the record of one event frame with its events numbered above ``after``.

    The time of an event is given as its distance from the response. ``node_ms`` is the node's clock
    (``t_boot_ms``, 32 bits) at the response, as estimated by the gateway. Without it the
    frame's own ``t_boot_ms`` is taken, which is too early by the frame's age: a node makes the
    frame at the newest event, not when it is read. LocalError(BAD_VALUE): the device id, the stamp
    or the frame's length.
    """
    if node_ms is None:
        node_ms = header.t_boot_ms
    maps = [_head(device_id, EVENTS, header.status, stamp, [FRAME.pack(bytes(frame), "frame")])]
    for event in events:
        if event.number <= after:
            continue
        # Both wrap at 2**32 ms: the shorter way round is the distance.
        offset = (event.t_boot_ms - node_ms + _HALF) % _WRAP - _HALF
        maps.append(_event(NodeEvent(event.number, event_name(event.code), event.arg, offset)))
    return _join(maps, 0, EVENTS)


def event_name(code: int) -> str:
    """Return the name of an event code; a code of a later firmware is ``event-<code>``."""
    return EVENT_NAMES[code] if 0 < code < len(EVENT_NAMES) else f"event-{code}"


def gap_record(device_id: str, gap: Gap, stamp: Stamp) -> Record:
    """Return the record of a gap. LocalError(BAD_VALUE): an unknown cause, a range upside down, a
    detail over 200 characters, the device id or the stamp.
    """
    cause, *tail = GAP_FIELDS.pack(gap, "gap")
    if tail[-SLOT_FIELDS:] == [None] * SLOT_FIELDS:
        del tail[-SLOT_FIELDS:]
    return _join([_head(device_id, GAP, cause, stamp, tail)], 0, GAP)


def file_record(device_id: str, part: FilePart, stamp: Stamp) -> Record:
    """Return the record of a part of a file; LocalError(BAD_VALUE) for what does not fit."""
    what, *tail = FILE_FIELDS.pack(part, "file")
    return _join([_head(device_id, FILE, what, stamp, tail)], 0, FILE)


def action_record(device_id: str, action: Action, stamp: Stamp) -> Record:
    """Return the record of what was done; LocalError(BAD_VALUE) for what does not fit."""
    name, *tail = ACTION_FIELDS.pack(action, "action")
    return _join([_head(device_id, ACTION, name, stamp, tail)], 0, ACTION)


def _head(
    device_id: str, kind: int, value: object, stamp: Stamp, tail: list[object]
) -> dict[int | str, object]:
    IDENTIFIER.pack(device_id, "device id")
    items = STAMP.pack(stamp, "stamp")
    head: dict[int | str, object] = {
        senml.NAME: head_name(kind),
        head_value(kind): value,
        senml.BASE_NAME: device_id + "/",
        EXTENSION: [kind, *items[:STAMP_ITEMS], *tail],
    }
    if items[STAMP_ITEMS] is not None:
        head[senml.BASE_TIME] = items[STAMP_ITEMS]
    return head


def _point(point: Point, raw: int) -> dict[int | str, object]:
    entry: dict[int | str, object] = {senml.NAME: point.name}
    if point.unit:
        entry[senml.UNIT] = point.unit
    entry[senml.VALUE] = senml.decimal(raw, point.exp10)
    return entry


def _failure(name: str, quality: str) -> dict[int | str, object]:
    return {senml.NAME: name + QUALITY_SUFFIX, senml.STRING: quality}


def _event(event: NodeEvent) -> dict[int | str, object]:
    number, name, arg, offset = EVENT.pack(event, "event")
    return {
        senml.NAME: EVENT_NAME,
        senml.STRING: name,
        senml.TIME: offset,
        EXTENSION: [number, arg],
    }


def _join(maps: list[dict[int | str, object]], readings: int, kind: int) -> Record:
    data = b"".join(map(cbor.encode, maps))
    if len(data) > MAX_RECORD_BYTES:
        raise LocalError(TOO_LONG, "record", -1, f"at most {MAX_RECORD_BYTES} bytes", len(data))
    return Record(data, readings, kind, len(maps))
