"""Records that differ from one before in their numbers only, read in a fraction of the time.

A device sends the same names and units with each record. What the general way of
:mod:`.record_read` has accepted once is learned as a *shape*: the bytes between the numbers, which
are the same in every such record, and what their names are. The next record of the device is
compared with them piece by piece, and only its numbers are decoded.

After None the caller takes the general way, which also finds out what is wrong; tests hold both
equal. What is learned is bounded.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, NamedTuple

from protocols.wire.errors import PeerError

from . import cbor, senml
from .checks import MAX_U16
from .record_layout import FRAME, head_name, is_stamp
from .record_types import EXTENSION, PROFILE, SAMPLE, Decoded, Failure, Stamp, Value

_MAX_DEVICES: Final = 8192
_SHAPES_OF_ONE: Final = 4  # a point that fails now and then makes two

_TIMELESS: Final = 0xA4  # a map of 4: n, v, bn, tf
_TIMED: Final = 0xA5  # bt too
_BEGIN: Final = cbor.encode(senml.NAME) + cbor.encode(head_name(SAMPLE)) + cbor.encode(senml.VALUE)
_BASE_NAME: Final = cbor.encode(senml.BASE_NAME)[0]
_BASE_TIME: Final = cbor.encode(senml.BASE_TIME)[0]
_TEXT: Final = 0x60
_TEXT_U8: Final = 0x78  # the length of the text is in the next byte
_EXTENSION: Final = cbor.encode(EXTENSION)
_ARRAY_5: Final = 0x85  # of a third-party device: kind and stamp; a node's frame makes it 6
_FRACTION: Final = b"\xc4\x82"  # tag 4 and an array of 2: exponent, mantissa
_U16: Final = 0x19  # an integer in two bytes, as most registers are


class _Shape:
    """The points of a record, all but their numbers."""

    def __init__(self, points: bytes, record: Decoded) -> None:
        """Learn it from ``points``, which were accepted as those of ``record``."""
        self._names = [value.name for value in record.values]
        self._units = [value.unit for value in record.values]
        self._failures = record.failures
        # For each number the bytes before it, how many they are, and the power of ten it is to be
        # multiplied (above 1) or, as a negative number, divided by.
        self._parts: list[tuple[bytes, int, int]] = []
        begin = 0
        for at in _value_places(points):
            scale = 1
            if points.startswith(_FRACTION, at):
                exp10, at = cbor.read(points, at + len(_FRACTION))  # the mantissa
                assert type(exp10) is int
                scale = 10**exp10 if exp10 > 0 else -(10**-exp10)
            self._parts.append((points[begin:at], at - begin, scale))
            _, begin = cbor.read(points, at)
        self._end = points[begin:]

    def read(self, points: bytes) -> tuple[tuple[Value, ...], tuple[Failure, ...]] | None:
        """Return the values and failures of ``points``; None if they have another shape."""
        numbers: list[int | float] = []
        add = numbers.append
        at = 0
        for before, length, scale in self._parts:
            if not points.startswith(before, at):
                return None
            at += length
            first = points[at]
            raw: cbor.Item
            if first == _U16 and points[at + 1]:
                raw = points[at + 1] << 8 | points[at + 2]
                at += 3
            else:
                raw, at = cbor.read(points, at)
                if type(raw) is not int and (type(raw) is not float or scale != 1):
                    return None
            if scale == 1:
                add(raw)
            else:
                add(raw / -scale if scale < 0 else raw * scale)
        if points[at:] != self._end:
            return None
        return tuple(map(_VALUE, zip(self._names, self._units, numbers, strict=True))), (
            self._failures
        )


_VALUE: Final[Callable[[tuple[str, str, float]], Value]] = partial(tuple.__new__, Value)


class _Device(NamedTuple):
    """A device whose id was accepted with records of ``kind``; the newest shape is first."""

    id: str
    kind: int
    shapes: list[_Shape]


_devices: dict[bytes, _Device] = {}  # by the id as encoded


class _KnownHead(NamedTuple):
    device: _Device
    stamp: Stamp
    status: int
    frame: bytes | None
    end: int


def read_known(data: bytes) -> Decoded | None:
    """Return a record whose device and shape are known; None if the general way has to read it."""
    try:
        head = _read_head(data)
        if head is None:
            return None
        points = data[head.end :]
        shapes = head.device.shapes
        for index, shape in enumerate(shapes):
            found = shape.read(points)
            if found is not None:
                if index:
                    shapes[0], shapes[index] = shapes[index], shapes[0]
                values, failures = found
                return Decoded(
                    head.device.id, head.device.kind, head.stamp, head.status, values, failures, (),
                    head.frame, None, 1 + len(values) + len(failures),
                )  # fmt: skip
    except (IndexError, ValueError, OverflowError, PeerError):
        pass
    return None


def learn(data: bytes, at: int, record: Decoded) -> None:
    """Learn the shape of a record that was accepted; its points begin at ``at``."""
    if record.kind not in (PROFILE, SAMPLE) or not record.values:
        return
    _, begin = cbor.read(data, 1 + len(_BEGIN))
    encoded = data[begin + 1 : _text_end(data, begin + 1)]
    if encoded not in _devices and len(_devices) >= _MAX_DEVICES:
        _devices.clear()
    device = _devices.setdefault(encoded, _Device(record.device_id, record.kind, []))
    device.shapes.insert(0, _Shape(data[at:], record))
    del device.shapes[_SHAPES_OF_ONE:]


def _value_places(points: bytes) -> Iterator[int]:
    """Yield where the value of each point begins, in maps of up to 23 pairs."""
    at = 0
    while at < len(points):
        pairs = points[at] & 0x1F
        at += 1
        for _ in range(pairs):
            label, at = cbor.read(points, at)
            if label == senml.VALUE:
                yield at
            _, at = cbor.read(points, at)


def _text_end(data: bytes, at: int) -> int:
    """Return the end of the text at ``at``, which has up to 255 bytes."""
    if data[at] == _TEXT_U8:
        return at + 2 + data[at + 1]
    return at + 1 + data[at] - _TEXT


def _read_head(data: bytes) -> _KnownHead | None:
    """Read the head of a known device; None, or an error, if it is anything else."""
    first = data[0]
    if first not in (_TIMELESS, _TIMED) or not data.startswith(_BEGIN, 1):
        return None
    status, at = _unsigned(data, 1 + len(_BEGIN))
    stop = _text_end(data, at + 1)
    device = _devices.get(data[at + 1 : stop])
    if data[at] != _BASE_NAME or device is None:
        return None
    kind = device.kind
    wall_ms, at = None, stop
    if first == _TIMED:
        seconds, at = cbor.read(data, at + 1)
        if data[stop] != _BASE_TIME or type(seconds) is not float:
            return None
        wall_ms = round(seconds * 1000)
        if wall_ms / 1000 != seconds:
            return None
    after = at + len(_EXTENSION)
    is_node = kind == SAMPLE
    if data[at:after] != _EXTENSION or data[after] != _ARRAY_5 + is_node or data[after + 1] != kind:
        return None
    req_ms, at = _unsigned(data, after + 2)
    delta_ms, at = _unsigned(data, at)
    state, at = _unsigned(data, at)
    unc_ms, at = _unsigned(data, at)
    stamp = Stamp(req_ms, req_ms + delta_ms, wall_ms, unc_ms, state)
    if not is_stamp(stamp) or status > (MAX_U16 if is_node else 0):
        return None
    if not is_node:
        return _KnownHead(device, stamp, status, None, at)
    frame, at = cbor.read(data, at)
    return _KnownHead(device, stamp, status, frame, at) if FRAME.fits(frame) else None


def _unsigned(data: bytes, at: int) -> tuple[int, int]:
    """Return the integer at ``at``, not below 0, and its end. ValueError if there is none."""
    item, end = cbor.read(data, at)
    if type(item) is not int or item < 0:
        raise ValueError
    return item, end
