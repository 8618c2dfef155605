"""Reading records: the bytes of one record, or a PeerError that says where they are wrong.

Only what :mod:`.record_write` and :mod:`.template` write is accepted, byte for byte: a map with an
unknown field, a field of another type or range, a map out of place, any other encoding of the same
values is refused. Offsets are those of the map (for CBOR faults: of the byte) within the record.
"""

from collections.abc import Set as AbstractSet
from typing import Final

from protocols.identity import NODE_ID_RULE, is_node_id
from protocols.wire.errors import BAD_VALUE, TOO_LONG, UNKNOWN, PeerError
from protocols.wire.registers import QUALITY_NAMES

from . import cbor, senml
from .fields import (
    MAX_NAME_LENGTH,
    MAX_U16,
    MAX_U32,
    MAX_UNIT_LENGTH,
    array,
    blob,
    identifier,
    integer,
    is_name,
    is_unit,
    mapping,
    optional_integer,
    text,
    wrong,
)
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
    MAX_EXP10,
    MAX_FRAME_BYTES,
    MAX_RECORD_BYTES,
    MAX_WALL_MS,
    MIN_WALL_MS,
    PROFILE,
    QUALITY_SUFFIX,
    RESERVED_NAMES,
    SAMPLE,
    STATUS_NAME,
    Decoded,
    Failure,
    Gap,
    NodeEvent,
    Stamp,
    Value,
)
from .shortcut import known_point, remember

_QUALITIES: Final = frozenset(QUALITY_NAMES[1:])
_MIN_INTEGER: Final = -(1 << 64)
_MAX_INTEGER: Final = (1 << 64) - 1
_HALF: Final = 1 << 31
_MAX_EVENT_NAME: Final = 32
_HEAD_ELEMENTS: Final = 5
_TAIL_ELEMENTS: Final = {PROFILE: 0, SAMPLE: 1, EVENTS: 1, GAP: 4}

_POINT: Final[frozenset[int | str]] = frozenset((senml.NAME, senml.VALUE))
_POINT_WITH_UNIT: Final[frozenset[int | str]] = frozenset((senml.NAME, senml.UNIT, senml.VALUE))
_FAILURE: Final[frozenset[int | str]] = frozenset((senml.NAME, senml.STRING))
_EVENT: Final[frozenset[int | str]] = frozenset((senml.NAME, senml.STRING, senml.TIME, EXTENSION))


def decode_record(data: bytes | bytearray | memoryview) -> Decoded:
    """Read one record.

    PeerError: TOO_LONG (over MAX_RECORD_BYTES), TRUNCATED, BAD_VALUE, BAD_ORDER, UNKNOWN (a kind
    or cause of a later version).
    """
    data = bytes(data)
    if len(data) > MAX_RECORD_BYTES:
        limit = f"at most {MAX_RECORD_BYTES} bytes"
        raise PeerError(TOO_LONG, "record", MAX_RECORD_BYTES, limit, len(data))
    item, at = cbor.read(data, 0)
    head = mapping(item, "head of the record", 0)
    extension = array(head.get(EXTENSION), "tf of the head", 0, _HEAD_ELEMENTS, 16)
    kind = integer(extension[0], "kind", 0, 0, MAX_U16)
    if kind not in _TAIL_ELEMENTS:
        raise PeerError(UNKNOWN, "kind of the record", 0, "0 to 3", kind)
    count = _HEAD_ELEMENTS + _TAIL_ELEMENTS[kind]
    array(extension, f"tf of kind {kind}", 0, count, count)
    stamp = _stamp(extension, head.get(senml.BASE_TIME))
    device_id = _device(head.get(senml.BASE_NAME), kind)
    labels: set[int | str] = {senml.NAME, senml.BASE_NAME, EXTENSION}
    labels.add(senml.STRING if kind == GAP else senml.VALUE)
    if stamp.wall_ms is not None:
        labels.add(senml.BASE_TIME)
    _labels(head, labels, "head", 0)
    name = GAP_NAME if kind == GAP else STATUS_NAME
    if head[senml.NAME] != name:
        raise wrong("n of the head", 0, name, repr(head[senml.NAME])[:80])
    status = 0
    frame = None
    gap = None
    if kind == GAP:
        gap = _gap(head[senml.STRING], extension[_HEAD_ELEMENTS:])
    else:
        most = 0 if kind == PROFILE else MAX_U16
        status = integer(head[senml.VALUE], "status", 0, 0, most)
    if kind in (SAMPLE, EVENTS):
        frame = blob(extension[_HEAD_ELEMENTS], "frame", 0, 1, MAX_FRAME_BYTES)
    values: list[Value] = []
    failures: list[Failure] = []
    events: list[NodeEvent] = []
    maps = 1
    names: set[str] = set()
    while at < len(data):
        begin = at
        known = known_point(data, begin) if kind in (PROFILE, SAMPLE) else None
        if known is not None:
            value, at = known
            if value.name in names:
                raise wrong("name of a point", begin, "each name once", repr(value.name))
            names.add(value.name)
            values.append(value)
            maps += 1
            continue
        item, at = cbor.read(data, begin)
        entry = mapping(item, "map after the head", begin)
        maps += 1
        if kind == GAP:
            raise wrong("record of kind 3", begin, "its head only", "a map more")
        if kind == EVENTS:
            events.append(_event(entry, events, begin))
            continue
        if senml.STRING in entry:
            failure = _failure(entry, begin)
            failures.append(failure)
            point = failure.name
        else:
            value = _value(entry, begin)
            remember(data, begin, value)
            values.append(value)
            point = value.name
        if point in names:
            raise wrong("name of a point", begin, "each name once", repr(point))
        names.add(point)
    return Decoded(
        device_id,
        kind,
        stamp,
        status,
        tuple(values),
        tuple(failures),
        tuple(events),
        frame,
        gap,
        maps,
    )


def _stamp(extension: list[cbor.Item], base_time: cbor.Item) -> Stamp:
    req_ms = integer(extension[1], "req_ms", 0, 0, MAX_WALL_MS)
    delta = integer(extension[2], "resp_delta_ms", 0, 0, MAX_U32)
    clock_state = integer(extension[3], "clock_state", 0, CLOCK_NONE, CLOCK_SYNCHRONISED)
    unc_ms = integer(extension[4], "unc_ms", 0, 0, MAX_WALL_MS)
    if req_ms + delta > MAX_WALL_MS:
        raise wrong("resp_delta_ms", 0, f"an answer before {MAX_WALL_MS}", req_ms + delta)
    if base_time is None:
        if clock_state != CLOCK_NONE:
            raise wrong("bt", 0, f"a time with clock state {clock_state}", "none")
        return Stamp(req_ms, req_ms + delta, None, unc_ms, clock_state)
    if clock_state == CLOCK_NONE:
        raise wrong("bt", 0, "none with clock state 0", base_time)
    if type(base_time) is not float:
        raise wrong("bt", 0, "float", cbor.kind_of(base_time))
    if not MIN_WALL_MS / 1000 <= base_time <= MAX_WALL_MS / 1000:
        raise wrong("bt", 0, f"{MIN_WALL_MS / 1000} to {MAX_WALL_MS / 1000}", base_time)
    wall_ms = round(base_time * 1000)
    if wall_ms / 1000 != base_time:
        raise wrong("bt", 0, "whole milliseconds", base_time)
    return Stamp(req_ms, req_ms + delta, wall_ms, unc_ms, clock_state)


def _device(base_name: cbor.Item, kind: int) -> str:
    if type(base_name) is not str:
        raise wrong("bn", 0, "text", cbor.kind_of(base_name))
    if not base_name.endswith("/"):
        raise wrong("bn", 0, 'a device id and "/"', repr(base_name[:80]))
    device_id = identifier(base_name[:-1], "bn", 0)
    # A third-party device must not be able to pass for a node, whose readings carry proof.
    if kind == PROFILE and is_node_id(device_id):
        raise wrong("bn of kind 0", 0, "no node's id", device_id)
    if kind in (SAMPLE, EVENTS) and not is_node_id(device_id):
        raise wrong(f"bn of kind {kind}", 0, NODE_ID_RULE, device_id)
    return device_id


def _gap(cause: cbor.Item, tail: list[cbor.Item]) -> Gap:
    name = text(cause, "cause", 0, MAX_NAME_LENGTH)
    if name not in CAUSES:
        raise PeerError(UNKNOWN, "cause of the gap", 0, ", ".join(CAUSES), repr(name))
    epoch = optional_integer(tail[0], "boot_epoch", 0, 0)
    first = optional_integer(tail[1], "first of the gap", 0, 0)
    last = optional_integer(tail[2], "last of the gap", 0, 0 if first is None else first)
    if (first is None) != (last is None):
        raise wrong("range of the gap", 0, "first and last, or neither", f"{first}, {last}")
    for value in (epoch, last):
        if value is not None and value > MAX_U32:
            raise wrong("gap", 0, f"at most {MAX_U32}", value)
    return Gap(name, epoch, first, last, text(tail[3], "detail", 0, MAX_DETAIL_LENGTH))


def _value(entry: dict[int | str, cbor.Item], at: int) -> Value:
    unit = ""
    if senml.UNIT in entry:
        _labels(entry, _POINT_WITH_UNIT, "point", at)
        unit = text(entry[senml.UNIT], "unit", at, MAX_UNIT_LENGTH)
        if not is_unit(unit):
            raise wrong("unit", at, "a SenML unit", repr(unit))
    else:
        _labels(entry, _POINT, "point", at)
    name = _name(entry[senml.NAME], at)
    item = entry[senml.VALUE]
    if type(item) is int or type(item) is float:
        return Value(name, unit, item)
    # A decimal fraction has one encoding here: an exponent from -9 to 9 other than 0.
    value = senml.number(item, f"v of {name}", at)
    parts = item.value if isinstance(item, cbor.Tagged) else None
    if isinstance(parts, list):
        exp10 = integer(parts[0], f"exponent of {name}", at, -MAX_EXP10, MAX_EXP10)
        integer(parts[1], f"v of {name}", at, _MIN_INTEGER, _MAX_INTEGER)
        if exp10 == 0:
            raise wrong(f"v of {name}", at, "an integer where the exponent is 0", "tag 4")
    return Value(name, unit, value)


def _failure(entry: dict[int | str, cbor.Item], at: int) -> Failure:
    _labels(entry, _FAILURE, "failed point", at)
    full = text(entry[senml.NAME], "n", at, MAX_NAME_LENGTH + len(QUALITY_SUFFIX))
    if not full.endswith(QUALITY_SUFFIX):
        raise wrong("n of a failed point", at, "<name>/q", repr(full))
    name = _name(full[: -len(QUALITY_SUFFIX)], at)
    quality = text(entry[senml.STRING], f"vs of {full}", at, MAX_NAME_LENGTH)
    if quality not in _QUALITIES:
        raise wrong(f"vs of {full}", at, ", ".join(QUALITY_NAMES[1:]), repr(quality))
    return Failure(name, quality)


def _event(entry: dict[int | str, cbor.Item], before: list[NodeEvent], at: int) -> NodeEvent:
    _labels(entry, _EVENT, "event", at)
    if entry[senml.NAME] != EVENT_NAME:
        raise wrong("n of an event", at, EVENT_NAME, repr(entry[senml.NAME])[:80])
    name = text(entry[senml.STRING], "vs of an event", at, _MAX_EVENT_NAME)
    number, arg = array(entry[EXTENSION], "tf of an event", at, 2, 2)
    counted = integer(number, "number of an event", at, 1, MAX_U32)
    if before and counted != before[-1].number + 1:
        raise wrong("number of an event", at, before[-1].number + 1, counted)
    offset = entry[senml.TIME]
    parts = offset.value if isinstance(offset, cbor.Tagged) else None
    if not isinstance(parts, list) or len(parts) != 2 or parts[0] != -3:
        raise wrong("t of an event", at, "tag 4 [-3, milliseconds]", cbor.kind_of(offset))
    return NodeEvent(
        counted,
        name,
        integer(arg, "arg of an event", at, 0, MAX_U16),
        integer(parts[1], "t of an event", at, -_HALF, _HALF - 1),
    )


def _name(value: cbor.Item, at: int) -> str:
    name = text(value, "n", at, MAX_NAME_LENGTH)
    if not is_name(name) or name in RESERVED_NAMES or name.endswith(QUALITY_SUFFIX):
        raise wrong("n", at, "the name of a point", repr(name))
    return name


def _labels(
    entry: dict[int | str, cbor.Item], expected: AbstractSet[int | str], what: str, at: int
) -> None:
    if entry.keys() != expected:
        labels = ", ".join(sorted(map(str, expected)))
        got = ", ".join(sorted(str(label)[:20] for label in entry)[:12])
        raise PeerError(BAD_VALUE, f"labels of the {what}", at, labels, got)
