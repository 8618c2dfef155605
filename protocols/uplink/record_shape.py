"""Records that differ from one before in their numbers only, read in a fraction of the time.

A device sends the same names and units with each record. What the general way of
:mod:`.record_read` has accepted is learned as a *shape*: a pattern of the bytes between the
numbers, which are the same in every such record, and what their names are. One match compares the
next record with it and finds its numbers. Devices that send the same points have one shape.

A pattern takes milliseconds to make, so a shape is learned when it comes for the second time; a
device that is new and sends a shape that others send needs none.
After None the caller takes the general way, which also finds out what is wrong; tests hold both
equal. What is learned is bounded.
"""

import re
import struct
from collections.abc import Iterator
from math import isfinite
from typing import Final, NamedTuple

from protocols.wire.errors import PeerError

from . import cbor, senml
from .checks import MAX_U16
from .record_layout import FRAME, head_name, is_stamp
from .record_types import EXTENSION, PROFILE, SAMPLE, Decoded, RecordPoint, Stamp

_MAX_DEVICES: Final = 8192
_SHAPES_OF_ONE: Final = 4  # a point that fails now and then makes two
_MAX_POINTS: Final = 50_000  # in all shapes together, about 25 MB
_MAX_SEEN: Final = 4096
_MAX_NUMBERS: Final = 1 << 15  # about 5 MB

_TIMELESS: Final = b"\xa4"  # a map of 4: n, v, bn, tf
_TIMED: Final = b"\xa5"  # bt too
_BEGIN: Final = cbor.encode(senml.NAME) + cbor.encode(head_name(SAMPLE)) + cbor.encode(senml.VALUE)
_TEXT: Final = 0x60
_TEXT_U8: Final = 0x78  # the length of the text is in the next byte
_FRACTION: Final = b"\xc4\x82"  # tag 4 and an array of 2: exponent, mantissa

# A number of any size, as patterns; whether it has its shortest form is checked where it is read.
_INTEGER: Final = rb"[\x19\x39]..|[\x18\x38].|[\x00-\x17\x20-\x37]|[\x1a\x3a].{4}|[\x1b\x3b].{8}"
_FLOAT: Final = rb"\xf9..|\xfa.{4}|\xfb.{8}"
_NUMBER: Final = _INTEGER + b"|" + _FLOAT
_UNSIGNED: Final = rb"([\x00-\x17]|\x18.|\x19..|\x1a.{4}|\x1b.{8})"
# The head: status, device id, time, kind (in an array of 5, or of 6 with a node's frame), stamp. An
# id ends with its first "/" after its length; whether that is right is found by looking it up.
_match_head: Final = re.compile(
    b"([\xa4\xa5])" + re.escape(_BEGIN) + _UNSIGNED
    + re.escape(cbor.encode(senml.BASE_NAME)) + b"((?:x.)?[^/]*/)"
    + b"(?:" + re.escape(cbor.encode(senml.BASE_TIME)) + b"(" + _FLOAT + b"))?"
    + re.escape(cbor.encode(EXTENSION)) + b"(\x85\x00|\x86\x01)" + 4 * _UNSIGNED,
    re.DOTALL,
).match  # fmt: skip
_LEAST: Final = {2: 24, 3: 1 << 8, 5: 1 << 16, 9: 1 << 32}  # in so many bytes
_KINDS: Final = {b"\x85\x00": PROFILE, b"\x86\x01": SAMPLE}
_SHORT: Final = 3  # bytes of a number that is remembered: any register
_SINGLE: Final = struct.Struct(">xf")
_DOUBLE: Final = struct.Struct(">xd")


class _Numbers(dict[bytes, "int | float"]):
    """The numbers that came last, by their encoding: a look-up costs a fifth of reading."""

    def __missing__(self, encoded: bytes) -> int | float:
        # A float whose last byte is not zero has no shorter form.
        if encoded[0] >= 0xFA and encoded[-1]:
            float_: float = (_SINGLE if encoded[0] == 0xFA else _DOUBLE).unpack(encoded)[0]
            if isfinite(float_):
                return float_
        elif encoded[0] == 0x1A and (encoded[1] or encoded[2]):
            return int.from_bytes(encoded[1:], "big")
        number, _ = cbor.read(encoded)
        assert type(number) is int or type(number) is float
        if len(encoded) <= _SHORT:
            if len(self) >= _MAX_NUMBERS:
                self.clear()
            self[encoded] = number
        return number


class _Unsigned(dict[bytes, int]):
    """Unsigned integers by their encoding; those of a byte are kept."""

    def __missing__(self, encoded: bytes) -> int:
        number = int.from_bytes(encoded[1:], "big")
        if number < _LEAST[len(encoded)]:
            raise ValueError  # not the shortest encoding
        if len(encoded) == 2:
            self[encoded] = number
        return number


_number: Final = _Numbers().__getitem__
_unsigned: Final = _Unsigned({bytes((number,)): number for number in range(24)}).__getitem__


class _Shape:
    """The points of a record, all but their numbers."""

    def __init__(self, pattern: bytes, factors: list[tuple[int, int]], record: Decoded) -> None:
        self._match = re.compile(pattern, re.DOTALL).fullmatch
        self._factors = factors
        self.points = record.points
        self.failures = record.failures
        self.maps = record.maps

    def read(self, data: bytes, at: int) -> tuple[int | float, ...] | None:
        """Return the numbers of the points that begin at ``at``; None if it is another shape."""
        found = self._match(data, at)
        if found is None:
            return None
        numbers = tuple(map(_number, found.groups()))
        if self._factors:
            multiplied = list(numbers)
            for index, factor in self._factors:
                multiplied[index] *= factor
            return tuple(multiplied)
        return numbers


def _pattern(points: bytes) -> tuple[bytes, list[tuple[int, int]]]:
    """Return what points like these match, and by what which of their numbers is multiplied."""
    parts: list[bytes] = []
    factors = []
    begin = 0
    for index, at in enumerate(_value_places(points)):
        number = _NUMBER
        if points.startswith(_FRACTION, at):
            number = _INTEGER
            exp10, at = cbor.read(points, at + len(_FRACTION))  # the mantissa
            assert type(exp10) is int
            if exp10 > 0:
                factors.append((index, 10**exp10))
        parts.append(re.escape(points[begin:at]) + b"(" + number + b")")
        _, begin = cbor.read(points, at)
    return b"".join(parts) + re.escape(points[begin:]), factors


class _Device(NamedTuple):
    """A device whose id was accepted with records of ``kind``; the newest shape is first."""

    id: str
    kind: int
    shapes: list[_Shape]


_devices: Final[dict[bytes, _Device]] = {}  # by the id as encoded
_shapes: Final[dict[bytes, _Shape]] = {}  # by the pattern
_newest: Final[dict[tuple[RecordPoint, ...], _Shape]] = {}  # that of each tuple of points
_seen: Final[set[int]] = set()  # hashes of patterns that came once


def read_known(data: bytes) -> Decoded | None:
    """Return a record whose device and shape are known; None if the general way has to read it."""
    try:
        head = _read_head(data)
        if head is None:
            return None
        device, stamp, status, frame, end = head
        shapes = device.shapes
        for index, shape in enumerate(shapes):
            numbers = shape.read(data, end)
            if numbers is not None:
                if index:
                    shapes[0], shapes[index] = shapes[index], shapes[0]
                return Decoded(
                    device.id, device.kind, stamp, status, shape.points,
                    numbers, shape.failures, (), frame, None, shape.maps,
                )  # fmt: skip
    except (IndexError, ValueError, OverflowError, PeerError):
        pass
    return None


def learn(data: bytes, at: int, record: Decoded) -> None:
    """Learn the shape of a record that was accepted; its points begin at ``at``."""
    if record.kind not in (PROFILE, SAMPLE) or not record.points:
        return
    shape = _newest.get(record.points)
    if shape is None or shape.read(data, at) is None:
        shape = _shape(data[at:], record)
    if shape is None:
        return
    _newest[record.points] = shape
    _, begin = cbor.read(data, 1 + len(_BEGIN))
    encoded = data[begin + 1 : _text_end(data, begin + 1)]
    if encoded not in _devices and len(_devices) >= _MAX_DEVICES:
        for one in [*_devices][::2]:  # not all: with a few more devices most are found then
            del _devices[one]
    device = _devices.setdefault(encoded, _Device(record.device_id, record.kind, []))
    device.shapes.insert(0, shape)
    del device.shapes[_SHAPES_OF_ONE:]


def _shape(points: bytes, record: Decoded) -> _Shape | None:
    """Return the shape of a record; None if it comes for the first time."""
    pattern, factors = _pattern(points)
    shape = _shapes.get(pattern)
    if shape is not None:
        return shape
    mark = hash(pattern)
    if mark not in _seen:
        if len(_seen) >= _MAX_SEEN:
            _seen.clear()
        _seen.add(mark)
        return None
    if sum(len(known.points) for known in _shapes.values()) + len(record.points) > _MAX_POINTS:
        forget()
    shape = _shapes[pattern] = _Shape(pattern, factors, record)
    return shape


def forget() -> None:
    """Forget all that was learned."""
    _devices.clear()
    _shapes.clear()
    _newest.clear()
    _seen.clear()


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


def _read_head(data: bytes) -> tuple[_Device, Stamp, int, bytes | None, int] | None:
    """Return device, stamp, status, frame and end of the head of a known device.

    None, or an error, if it is anything else.
    """
    found = _match_head(data)
    if found is None:
        return None
    first, status_, name, time, kind, req, delta, state, unc = found.groups()
    device = _devices.get(name)
    if device is None or device.kind != _KINDS[kind] or (first == _TIMED) != (time is not None):
        return None
    wall_ms = None
    if time is not None:
        seconds = _number(time)
        wall_ms = round(seconds * 1000)
        if wall_ms / 1000 != seconds:
            return None
    req_ms, status = _unsigned(req), _unsigned(status_)
    resp_ms = req_ms + _unsigned(delta)
    stamp = Stamp(req_ms, resp_ms, wall_ms, _unsigned(unc), _unsigned(state))
    if not is_stamp(stamp):
        return None
    if device.kind == PROFILE:
        return None if status else (device, stamp, status, None, found.end())
    frame, at = cbor.read(data, found.end())
    if status > MAX_U16 or not FRAME.fits(frame):
        return None
    return device, stamp, status, frame, at
