"""Reading records: the bytes of one record, or a FormatError with the place that is wrong.

Only what :mod:`.record_write` and :mod:`.fast_points` write is accepted, byte for byte: a map with
an unknown field, a field of another type or range, a map out of place, any other encoding of the
same values is refused. Offsets are those of the map (for CBOR faults: of the byte) within the
record.
"""

from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple

from protocols.identity import NODE_ID_RULE, is_node_id
from protocols.wire.errors import TOO_LONG, UNKNOWN

from . import cbor, senml
from .checks import IDENTIFIER, Integer, array, mapping, wrong
from .errors import FormatError
from .record_layout import (
    ACTION_FIELDS,
    EVENT,
    EVENT_LABELS,
    EXPONENT,
    FAILURE,
    FAILURE_LABELS,
    FILE_FIELDS,
    FRAME,
    GAP_FIELDS,
    KIND,
    NO_STATUS,
    POINT_LABELS,
    POINT_NAME,
    POINT_UNIT_LABELS,
    SLOT_FIELDS,
    STAMP,
    STAMP_ITEMS,
    STATUS,
    TAIL_ITEMS,
    UNIT,
    head_name,
    head_value,
)
from .record_shape import learn, read_known
from .record_types import (
    ACTION,
    EVENT_NAME,
    EVENTS,
    EXTENSION,
    FILE,
    GAP,
    MAX_RECORD_BYTES,
    PROFILE,
    SAMPLE,
    Action,
    Decoded,
    Failure,
    FilePart,
    Gap,
    NodeEvent,
    RecordPoint,
    Stamp,
)

_MANTISSA: Final = Integer(-(1 << 64), (1 << 64) - 1)
_MOST_ITEMS: Final = 16  # of "tf": read before the kind, which gives the exact number


class _Head(NamedTuple):
    """The content of a record's first map."""

    device_id: str
    kind: int
    stamp: Stamp
    status: int
    frame: bytes | None
    gap: Gap | None
    part: FilePart | None = None
    action: Action | None = None


def decode_record(data: bytes | bytearray | memoryview) -> Decoded:
    """Read one record.

    FormatError: TOO_LONG (over MAX_RECORD_BYTES), TRUNCATED, BAD_VALUE, BAD_ORDER, UNKNOWN (a kind
    or cause of a later version).
    """
    data = bytes(data)
    if len(data) > MAX_RECORD_BYTES:
        limit = f"at most {MAX_RECORD_BYTES} bytes"
        raise FormatError(TOO_LONG, "record", MAX_RECORD_BYTES, limit, len(data))
    known = read_known(data)
    if known is not None:
        return known
    item, at = cbor.read(data, 0)
    record = _read_rest(data, at, _read_head(mapping(item, "head of the record", 0)))
    learn(data, at, record)
    return record


def _read_rest(data: bytes, at: int, head: _Head) -> Decoded:
    points: tuple[RecordPoint, ...] = ()
    numbers: tuple[int | float, ...] = ()
    failures: tuple[Failure, ...] = ()
    events: tuple[NodeEvent, ...] = ()
    if head.kind == EVENTS:
        events = _read_events(data, at)
    elif head.kind in (GAP, FILE, ACTION):
        _read_end(data, at, head.kind)
    else:
        points, numbers, failures = _read_points(data, at)
    return Decoded(
        head.device_id,
        head.kind,
        head.stamp,
        head.status,
        points,
        numbers,
        failures,
        events,
        head.frame,
        head.gap,
        1 + len(points) + len(failures) + len(events),
        head.part,
        head.action,
    )


def _read_head(head: dict[int | str, cbor.Item]) -> _Head:
    extension = array(head.get(EXTENSION), "tf of the head", 0, 1 + STAMP_ITEMS, _MOST_ITEMS)
    kind = KIND.unpack(extension[0], "kind", 0)
    if kind not in TAIL_ITEMS:
        raise FormatError(UNKNOWN, "kind", 0, "0 to 3, 5 or 6", kind)
    count = 1 + STAMP_ITEMS + TAIL_ITEMS[kind]
    least = count - SLOT_FIELDS if kind == GAP and len(extension) < count else count
    array(extension, f"tf of kind {kind}", 0, least, least)
    base_time = head.get(senml.BASE_TIME)
    stamp = STAMP.unpack([*extension[1 : 1 + STAMP_ITEMS], base_time], "stamp", 0)
    device_id = _read_device(head.get(senml.BASE_NAME), kind)
    value_label = head_value(kind)
    labels: set[int | str] = {senml.NAME, senml.BASE_NAME, EXTENSION, value_label}
    if base_time is not None:
        labels.add(senml.BASE_TIME)
    _check_labels(head, labels, "head", 0)
    name = head_name(kind)
    if head[senml.NAME] != name:
        raise wrong("n of the head", 0, name, repr(head[senml.NAME])[:80])
    value = head[value_label]
    tail = extension[1 + STAMP_ITEMS :]
    if kind == GAP:
        return _Head(device_id, kind, stamp, 0, None, _read_gap(value, tail))
    if kind == FILE:
        part = FILE_FIELDS.unpack([value, *tail], "file", 0)
        return _Head(device_id, kind, stamp, 0, None, None, part)
    if kind == ACTION:
        action = ACTION_FIELDS.unpack([value, *tail], "action", 0)
        return _Head(device_id, kind, stamp, 0, None, None, None, action)
    status = (NO_STATUS if kind == PROFILE else STATUS).unpack(value, "status", 0)
    frame = None if kind == PROFILE else FRAME.unpack(tail[0], "frame", 0)
    return _Head(device_id, kind, stamp, status, frame, None)


def _read_gap(cause: cbor.Item, tail: list[cbor.Item]) -> Gap:
    absent: list[cbor.Item] = [None] * SLOT_FIELDS
    if tail[-SLOT_FIELDS:] == absent and len(tail) == TAIL_ITEMS[GAP]:
        raise wrong("tf of the gap", 0, "nothing after its detail", "three times null")
    if len(tail) < TAIL_ITEMS[GAP]:
        tail = tail + absent
    return GAP_FIELDS.unpack([cause, *tail], "gap", 0)


def _read_device(base_name: cbor.Item, kind: int) -> str:
    if type(base_name) is not str:
        raise wrong("bn", 0, "text", cbor.kind_of(base_name))
    if not base_name.endswith("/"):
        raise wrong("bn", 0, 'a device id and "/"', repr(base_name[:80]))
    device_id = IDENTIFIER.unpack(base_name[:-1], "bn", 0)
    # A third-party device must not be able to pass for a node, whose readings carry proof.
    if kind == PROFILE and is_node_id(device_id):
        raise wrong("bn of kind 0", 0, "no node's id", device_id)
    if kind in (SAMPLE, EVENTS) and not is_node_id(device_id):
        raise wrong(f"bn of kind {kind}", 0, NODE_ID_RULE, device_id)
    return device_id


def _read_points(
    data: bytes, at: int
) -> tuple[tuple[RecordPoint, ...], tuple[int | float, ...], tuple[Failure, ...]]:
    points: list[RecordPoint] = []
    numbers: list[int | float] = []
    failures: list[Failure] = []
    names: set[str] = set()
    while at < len(data):
        begin = at
        item, at = cbor.read(data, begin)
        entry = mapping(item, "map after the head", begin)
        if senml.STRING in entry:
            failure = _read_failure(entry, begin)
            name = failure.name
            failures.append(failure)
        else:
            point, number = _read_point(entry, begin)
            name = point.name
            points.append(point)
            numbers.append(number)
        if name in names:
            raise wrong("name of a point", begin, "each name once", repr(name))
        names.add(name)
    return tuple(points), tuple(numbers), tuple(failures)


def _read_events(data: bytes, at: int) -> tuple[NodeEvent, ...]:
    events: list[NodeEvent] = []
    while at < len(data):
        begin = at
        item, at = cbor.read(data, begin)
        event = _read_event(mapping(item, "map after the head", begin), begin)
        if events and event.number != events[-1].number + 1:
            raise wrong("number", begin, events[-1].number + 1, event.number)
        events.append(event)
    return tuple(events)


def _read_end(data: bytes, at: int, kind: int) -> None:
    if at < len(data):
        mapping(cbor.read(data, at)[0], "map after the head", at)
        raise wrong(f"record of kind {kind}", at, "its head only", "a map more")


def _read_point(entry: dict[int | str, cbor.Item], at: int) -> tuple[RecordPoint, int | float]:
    unit = ""
    if senml.UNIT in entry:
        _check_labels(entry, POINT_UNIT_LABELS, "point", at)
        unit = UNIT.unpack(entry[senml.UNIT], "unit", at)
    else:
        _check_labels(entry, POINT_LABELS, "point", at)
    name = POINT_NAME.unpack(entry[senml.NAME], "n", at)
    item = entry[senml.VALUE]
    if type(item) is int or type(item) is float:
        return RecordPoint(name, unit, 1), item
    # A decimal fraction has one encoding here: an exponent from -9 to 9 other than 0.
    value = senml.number(item, f"v of {name}", at)
    parts = item.value if isinstance(item, cbor.Tagged) else None
    if isinstance(parts, list):
        exp10 = EXPONENT.unpack(parts[0], f"exponent of {name}", at)
        mantissa = _MANTISSA.unpack(parts[1], f"v of {name}", at)
        if exp10 == 0:
            raise wrong(f"v of {name}", at, "an integer where the exponent is 0", "tag 4")
        if exp10 < 0:
            return RecordPoint(name, unit, 10**-exp10), mantissa
    return RecordPoint(name, unit, 1), value


def _read_failure(entry: dict[int | str, cbor.Item], at: int) -> Failure:
    _check_labels(entry, FAILURE_LABELS, "failed point", at)
    return FAILURE.unpack([entry[senml.NAME], entry[senml.STRING]], "failed point", at)


def _read_event(entry: dict[int | str, cbor.Item], at: int) -> NodeEvent:
    _check_labels(entry, EVENT_LABELS, "event", at)
    if entry[senml.NAME] != EVENT_NAME:
        raise wrong("n of an event", at, EVENT_NAME, repr(entry[senml.NAME])[:80])
    number, arg = array(entry[EXTENSION], "tf of an event", at, 2, 2)
    return EVENT.unpack([number, entry[senml.STRING], arg, entry[senml.TIME]], "event", at)


def _check_labels(
    entry: dict[int | str, cbor.Item], expected: AbstractSet[int | str], what: str, at: int
) -> None:
    if entry.keys() != expected:
        labels = ", ".join(sorted(map(str, expected)))
        got = ", ".join(sorted(str(label)[:20] for label in entry)[:12])
        raise wrong(f"labels of the {what}", at, labels, got)
