"""Sparkplug B's payload in Protocol Buffers, as far as an edge node needs it.

Fields are those of Sparkplug 3.0, section 6.4 (sparkplug_b.proto). The reader takes what a host may
send in a command, skips the fields it does not know, and refuses everything else.
"""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

INT64: Final = 4  # data types, Sparkplug 3.0, section 6.4.16
DOUBLE: Final = 10
BOOLEAN: Final = 11
STRING: Final = 12

MAX_METRICS: Final = 100  # of a command
_VARINT: Final = 0
_FIXED64: Final = 1
_BYTES: Final = 2
_FIXED32: Final = 5


class Metric(NamedTuple):
    """One metric; ``value`` None is its null. ``name`` and ``alias``: one of both, or both."""

    name: str
    alias: int | None
    datatype: int
    value: int | float | bool | str | None
    timestamp_ms: int | None = None
    is_historical: bool = False


def payload(timestamp_ms: int | None, seq: int | None, metrics: list[Metric]) -> bytes:
    """Return a payload."""
    data = bytearray()
    if timestamp_ms is not None:
        data += _number(1, timestamp_ms)
    for metric in metrics:
        data += _bytes(2, _metric(metric))
    if seq is not None:
        data += _number(3, seq)
    return bytes(data)


def _metric(metric: Metric) -> bytes:
    data = bytearray()
    if metric.name:
        data += _bytes(1, metric.name.encode())
    if metric.alias is not None:
        data += _number(2, metric.alias)
    if metric.timestamp_ms is not None:
        data += _number(3, metric.timestamp_ms)
    data += _number(4, metric.datatype)
    if metric.is_historical:
        data += _number(5, 1)
    value = metric.value
    if value is None:
        data += _number(7, 1)
    elif metric.datatype == BOOLEAN:
        data += _number(14, int(bool(value)))
    elif metric.datatype == STRING:
        data += _bytes(15, str(value).encode())
    elif metric.datatype == DOUBLE:
        data += _tag(13, _FIXED64) + struct.pack("<d", value)
    else:
        data += _number(11, int(value) & 0xFFFF_FFFF_FFFF_FFFF)
    return bytes(data)


def _varint(value: int) -> bytes:
    data = bytearray()
    while value > 127:
        data.append(value & 127 | 128)
        value >>= 7
    data.append(value)
    return bytes(data)


def _tag(field: int, kind: int) -> bytes:
    return _varint(field << 3 | kind)


def _number(field: int, value: int) -> bytes:
    return _tag(field, _VARINT) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _tag(field, _BYTES) + _varint(len(value)) + value


def read_metrics(data: bytes) -> list[Metric]:
    """Read the metrics of a payload. ValueError: it is none, or has more than MAX_METRICS."""
    found: list[Metric] = []
    for field, value in _fields(data):
        if field == 2:
            if not isinstance(value, bytes):
                raise ValueError("expected a metric in field 2, got a number")
            if len(found) == MAX_METRICS:
                raise ValueError(f"expected at most {MAX_METRICS} metrics, got more")
            found.append(_read_metric(value))
    return found


def _read_metric(data: bytes) -> Metric:
    name, alias, datatype, timestamp = "", None, 0, None
    content: int | float | bool | str | None = None
    is_null = is_historical = False
    for field, value in _fields(data):
        if field == 1 and isinstance(value, bytes):
            name = value.decode("utf-8")
        elif field == 15 and isinstance(value, bytes):
            content = value.decode("utf-8")
        elif isinstance(value, bytes):
            if field in (13, 12):
                content = struct.unpack("<d" if field == 13 else "<f", value)[0]
        elif field == 2:
            alias = value
        elif field == 3:
            timestamp = value
        elif field == 4:
            datatype = value
        elif field == 5:
            is_historical = bool(value)
        elif field == 7:
            is_null = bool(value)
        elif field in (10, 11):
            content = value - (1 << 64) if datatype == INT64 and value >> 63 else value
        elif field == 14:
            content = bool(value)
    return Metric(name, alias, datatype, None if is_null else content, timestamp, is_historical)


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of each field; a fixed one as its bytes."""
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        field, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, at = _read_varint(data, at)
            yield field, value
            continue
        if kind == _BYTES:
            size, at = _read_varint(data, at)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
            if field in (12, 13) and size != (8 if field == 13 else 4):
                raise ValueError(f"expected another width of field {field}, got {size} bytes")
        else:
            raise ValueError(f"expected a wire type 0, 1, 2 or 5 at byte {at}, got {kind}")
        if kind == _BYTES and field in (12, 13):
            raise ValueError(f"expected a number in field {field}, got {size} bytes")
        if not field or size > len(data) - at:
            raise ValueError(f"expected {size} bytes of field {field} at byte {at}, got an end")
        yield field, data[at : at + size]
        at += size


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ValueError(f"expected a number at byte {at}, got the end")
        value |= (data[at] & 127) << shift
        at += 1
        if not data[at - 1] & 128:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
    raise ValueError(f"expected a number of up to 10 bytes, got a longer one at byte {at}")
