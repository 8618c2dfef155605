"""The sample frame and the event frame: what a node measured, authenticated by the node's key.

Layout in bytes, big endian (sizes in registers are in :mod:`.registers`)::

     0  map_id       u16      8  seq        u32     20  body: quality nibbles and values,
     2  map_version  u16     12  t_boot_ms  u32         or event slots
     4  boot_epoch   u32     16  status     u16     -18  key_id  u16
                             18  event_seq  u16     -16  tag     16 bytes

``boot_epoch`` rises at every boot, ``seq`` at every sample (for the event frame: at every event),
so a loss, a repeat and a restart are each visible. ``t_boot_ms`` is the time of sampling since
boot and wraps after 49.7 days. ``event_seq`` is the low half of the number of events since boot.

The tag is HMAC-SHA256 with the node's own key over every byte before it followed by the node's
unique id, cut to 16 bytes (RFC 2104 section 5). A map has one length, so where the frame ends and
the unique id begins is never in doubt.

Every frame has one encoding: what is not used is 0, and a frame that breaks this is refused.
"""

import struct

from micropython import const

from .errors import BAD_TAG, BAD_VALUE, TOO_LONG, TRUNCATED, UNKNOWN, LocalError, PeerError
from .hmac import HmacSha256, equal
from .registers import (
    EVENT_MAP_ID,
    EVENT_MAP_VERSION,
    EVENT_SLOT_WORDS,
    EVENT_SLOTS,
    EVENT_WORDS,
    FAULT,
    HEADER_WORDS,
    I16,
    OK,
    U32,
    RegisterMap,
    map_of,
)

_TAG = const(16)
_HEADER = const(20)
_ENVELOPE = const(38)  # header, key id and tag
TAG_BYTES = 16


class Header:
    """The fields every frame begins with; see the module for units."""

    def __init__(
        self,
        map_id: int,
        map_version: int,
        boot_epoch: int,
        seq: int,
        t_boot_ms: int,
        status: int,
        event_seq: int,
        key_id: int,
    ) -> None:
        self.map_id = map_id
        self.map_version = map_version
        self.boot_epoch = boot_epoch
        self.seq = seq
        self.t_boot_ms = t_boot_ms
        self.status = status
        self.event_seq = event_seq
        self.key_id = key_id


class Sample:
    """A decoded sample frame: ``raw[i]`` and ``quality[i]`` belong to ``map.points[i]``."""

    def __init__(
        self, map: RegisterMap, header: Header, quality: "tuple[int, ...]", raw: "tuple[int, ...]"
    ) -> None:
        self.map = map
        self.header = header
        self.quality = quality
        self.raw = raw


def pack_header(
    buf: bytearray,
    map_id: int,
    map_version: int,
    boot_epoch: int,
    seq: int,
    t_boot_ms: int,
    status: int,
    event_seq: int,
) -> None:
    """Write the header; numbers wider than their field lose their high part (they wrap)."""
    struct.pack_into(
        ">HHIIIHH",
        buf,
        0,
        map_id,
        map_version,
        boot_epoch & 0xFFFFFFFF,
        seq & 0xFFFFFFFF,
        t_boot_ms & 0xFFFFFFFF,
        status & 0xFFFF,
        event_seq & 0xFFFF,
    )


def pack_values(
    map: RegisterMap,
    buf: bytearray,
    quality: "list[int] | bytes | bytearray",
    raw: "list[int]",
) -> None:
    """Write one graded sample into ``buf`` (``2 * map.words`` bytes).

    ``quality`` and ``raw`` fit the map: a quality is 0 to 7, an OK value is in its range, any
    other value is 0. The node's grading sees to that; AssertionError if it did not, because
    MicroPython's struct would cut such a number silently.
    """
    points = map.points
    assert len(buf) == 2 * map.words
    assert len(quality) == len(raw) == len(points)
    for at in range(_HEADER, _HEADER + 2 * map.quality_words):
        buf[at] = 0
    for index in range(len(points)):
        point = points[index]
        value = raw[index]
        code = quality[index]
        assert point.low <= value <= point.high if code == OK else code <= FAULT and not value
        buf[_nibble_at(index)] |= code << (4 * (index % 2))
        at = 2 * map.offsets[index]
        if point.kind == U32:
            struct.pack_into(">I", buf, at, value)
        else:
            struct.pack_into(">H", buf, at, value & 0xFFFF)


def _nibble_at(index: int) -> int:
    """Return the byte with the quality of point ``index``, in its low half if that is even."""
    return _HEADER + 2 * (index // 4) + 1 - (index % 4) // 2


def seal(buf: bytearray, key_id: int, mac: "HmacSha256 | None", uid: bytes) -> None:
    """Write key id (0 to 65535) and tag at the end of a filled frame; without a key both are 0.

    LocalError(BAD_VALUE) for a key id that does not fit or a buffer shorter than an envelope.
    """
    end = len(buf) - _TAG
    if len(buf) < _ENVELOPE:
        raise LocalError(BAD_VALUE, "frame length", -1, _ENVELOPE, len(buf))
    if not 0 <= key_id <= 0xFFFF:
        raise LocalError(BAD_VALUE, "key id", -1, "0 to 65535", key_id)
    struct.pack_into(">H", buf, end - 2, 0 if mac is None else key_id)
    if mac is None:
        for index in range(end, len(buf)):
            buf[index] = 0
        return
    buf[end:] = mac.digest(memoryview(buf)[:end], uid)[:_TAG]


def verify(frame: bytes | bytearray | memoryview, mac: HmacSha256, uid: bytes) -> None:
    """Raise PeerError(BAD_TAG) unless the tag is the one of this key and this unique id.

    PeerError(TRUNCATED) if the frame is shorter than an envelope.
    """
    if len(frame) < _ENVELOPE:
        raise PeerError(TRUNCATED, "frame", len(frame), _ENVELOPE, len(frame))
    end = len(frame) - _TAG
    view = memoryview(frame)
    if not equal(mac.digest(view[:end], uid)[:_TAG], view[end:]):
        raise PeerError(BAD_TAG, "tag does not match frame, key and unique id", end)


def read_header(frame: bytes | bytearray | memoryview) -> Header:
    """Read header and key id of any frame; PeerError(TRUNCATED) if it is too short."""
    if len(frame) < _ENVELOPE:
        raise PeerError(TRUNCATED, "frame", len(frame), _ENVELOPE, len(frame))
    map_id, map_version, boot_epoch, seq, t_boot_ms, status, event_seq = struct.unpack_from(
        ">HHIIIHH", frame, 0
    )
    key_id = struct.unpack_from(">H", frame, len(frame) - _TAG - 2)[0]
    return Header(map_id, map_version, boot_epoch, seq, t_boot_ms, status, event_seq, key_id)


def _check_length(frame: bytes | bytearray | memoryview, words: int) -> None:
    if len(frame) != 2 * words:
        code = TRUNCATED if len(frame) < 2 * words else TOO_LONG
        raise PeerError(code, "frame length", min(len(frame), 2 * words), 2 * words, len(frame))


def decode(frame: bytes | bytearray | memoryview, header: "Header | None" = None) -> Sample:
    """Decode a sample frame. Its tag is not checked: call :func:`verify` first.

    ``header``: the frame's, for a caller that has read it already.

    PeerError: UNKNOWN map id or version, TRUNCATED or TOO_LONG for its map, BAD_VALUE (unknown
    quality, value out of its range, a value that is not 0 although its quality is not OK, a
    quality where there is no point).
    """
    if header is None:
        header = read_header(frame)
    map = map_of(header.map_id, header.map_version)
    _check_length(frame, map.words)
    points = map.points
    quality = []
    raw = []
    for index in range(len(points)):
        point = points[index]
        code = frame[_nibble_at(index)] >> (4 * (index % 2)) & 0xF
        if code > FAULT:
            raise PeerError(
                BAD_VALUE, "quality of " + point.name, _nibble_at(index), "0 to 7", code
            )
        at = 2 * map.offsets[index]
        value = struct.unpack_from(
            ">I" if point.kind == U32 else ">h" if point.kind == I16 else ">H", frame, at
        )[0]
        if code != OK:
            if value:
                raise PeerError(BAD_VALUE, point.name + ", not measured", at, 0, value)
        elif not point.low <= value <= point.high:
            raise PeerError(BAD_VALUE, point.name, at, (point.low, point.high), value)
        quality.append(code)
        raw.append(value)
    for index in range(len(points), 4 * map.quality_words):
        code = frame[_nibble_at(index)] >> (4 * (index % 2)) & 0xF
        if code:
            raise PeerError(BAD_VALUE, "quality of no point", _nibble_at(index), 0, code)
    return Sample(map, header, tuple(quality), tuple(raw))


class Event:
    """One event of an event frame: ``number`` counts from 1 at boot."""

    def __init__(self, number: int, code: int, arg: int, t_boot_ms: int) -> None:
        self.number = number
        self.code = code
        self.arg = arg
        self.t_boot_ms = t_boot_ms


def pack_events(buf: bytearray, seq: int, slots: "list[tuple[int, int, int]]") -> None:
    """Write the newest events, oldest first, into ``buf`` (``2 * EVENT_WORDS`` bytes).

    ``seq`` counts the events since boot; ``slots`` holds all of them, or the last EVENT_SLOTS, as
    (code, arg, t_boot_ms). Codes are 1 to 65535; an ``arg`` or time wider than its field loses its
    high part. LocalError(BAD_VALUE) for anything else.
    """
    filled = min(seq, EVENT_SLOTS)
    if len(buf) != 2 * EVENT_WORDS:
        raise LocalError(BAD_VALUE, "event frame length", -1, 2 * EVENT_WORDS, len(buf))
    if len(slots) != filled:
        raise LocalError(BAD_VALUE, "event slots", -1, filled, len(slots))
    at = 2 * HEADER_WORDS
    for index in range(EVENT_SLOTS):
        code, arg, t_boot_ms = slots[index] if index < filled else (0, 0, 0)
        if index < filled and not 1 <= code <= 0xFFFF:
            raise LocalError(BAD_VALUE, "event code", -1, "1 to 65535", code)
        struct.pack_into(">HHI", buf, at, code, arg & 0xFFFF, t_boot_ms & 0xFFFFFFFF)
        at += 2 * EVENT_SLOT_WORDS


def decode_events(
    frame: bytes | bytearray | memoryview, header: "Header | None" = None
) -> "tuple[Header, tuple[Event, ...]]":
    """Decode an event frame: its header (``seq`` = events since boot) and the events it holds.

    PeerError: UNKNOWN map id or version, TRUNCATED, TOO_LONG, BAD_VALUE (an empty slot before a
    filled one, more or fewer slots filled than events counted, something in an empty slot). The
    tag is not checked: call :func:`verify` first. Codes we do not know are passed on. ``header`` as
    in :func:`decode`.
    """
    if header is None:
        header = read_header(frame)
    if header.map_id != EVENT_MAP_ID:
        raise PeerError(UNKNOWN, "event map id", 0, EVENT_MAP_ID, header.map_id)
    if header.map_version != EVENT_MAP_VERSION:
        raise PeerError(UNKNOWN, "event map version", 2, EVENT_MAP_VERSION, header.map_version)
    _check_length(frame, EVENT_WORDS)
    filled = min(header.seq, EVENT_SLOTS)
    events = []
    for index in range(EVENT_SLOTS):
        at = 2 * (HEADER_WORDS + EVENT_SLOT_WORDS * index)
        code, arg, t_boot_ms = struct.unpack_from(">HHI", frame, at)
        if (code != 0) != (index < filled):
            raise PeerError(
                BAD_VALUE, "event slot", at, "an event" if index < filled else "empty", code
            )
        if code:
            events.append(Event(header.seq - filled + 1 + index, code, arg, t_boot_ms))
        elif arg or t_boot_ms:
            raise PeerError(BAD_VALUE, "empty event slot", at + 2, (0, 0), (arg, t_boot_ms))
    return header, tuple(events)
