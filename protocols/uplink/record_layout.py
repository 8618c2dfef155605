"""The tables of a record: what stands in its maps, for those who write, read and describe it.

A record is a head map, then a map for each point, failed point or event. The tables list the fields
of each in the order of the Python value; which label of a map holds which field stands beside the
table, once.
"""

from typing import Final

from cbor2 import CBORTag

from protocols.wire.errors import BAD_VALUE

from . import senml
from .cbor import DECIMAL_FRACTION, Item, Tagged, kind_of
from .checks import (
    MAX_NAME_LENGTH,
    MAX_U16,
    MAX_U32,
    MAX_UNIT_LENGTH,
    Bytes,
    FieldCheck,
    Integer,
    Mismatch,
    OrNull,
    Text,
    Word,
    is_name,
    is_unit,
    wrong,
)
from .layout import FormatField, Layout
from .record_types import (
    ACTION,
    ACTION_NAME,
    ACTIONS,
    CAUSES,
    CLOCK_NONE,
    CLOCK_SYNCHRONISED,
    EVENT_NAME,
    EVENTS,
    EXTENSION,
    FILE,
    FILE_NAME,
    FILES,
    GAP,
    GAP_NAME,
    MAX_ACTION_DETAIL,
    MAX_DETAIL_LENGTH,
    MAX_EXP10,
    MAX_FILE_BYTES,
    MAX_FRAME_BYTES,
    MAX_GAP_NUMBER,
    MAX_OPERATOR_LENGTH,
    MAX_PART_BYTES,
    MAX_WALL_MS,
    MIN_WALL_MS,
    POINT_QUALITIES,
    PROFILE,
    QUALITY_SUFFIX,
    SAMPLE,
    STATUS_NAME,
    Action,
    Failure,
    FilePart,
    Gap,
    NodeEvent,
    Stamp,
)

U16: Final = Integer(0, MAX_U16)
U32: Final = Integer(0, MAX_U32)
BOOT_MS: Final = Integer(0, MAX_WALL_MS)
CLOCK_STATE: Final = Integer(CLOCK_NONE, CLOCK_SYNCHRONISED)
WALL_MS: Final = OrNull(Integer(MIN_WALL_MS, MAX_WALL_MS))

_HALF: Final = 1 << 31
_RESERVED: Final = (STATUS_NAME, EVENT_NAME, GAP_NAME)  # no newer one: profiles may have it


class _WallSeconds(FieldCheck[int | None]):
    """Wall time in SenML's seconds, a float of whole milliseconds; null for an absent label."""

    rule = "a float, whole milliseconds; absent when clock_state is 0"

    def pack(self, value: object, field: str) -> float | None:
        """See :meth:`FieldCheck.pack`; ``value`` is in ms."""
        ms = WALL_MS.pack(value, field)
        return ms / 1000 if isinstance(ms, int) else None

    def unpack(self, item: Item, field: str, at: int) -> int | None:
        """See :meth:`FieldCheck.unpack`."""
        if item is None:
            return None
        if type(item) is not float:
            raise wrong(field, at, "float", kind_of(item))
        if not MIN_WALL_MS / 1000 <= item <= MAX_WALL_MS / 1000:
            raise wrong(field, at, f"{MIN_WALL_MS / 1000} to {MAX_WALL_MS / 1000}", item)
        wall_ms = round(item * 1000)
        if wall_ms / 1000 != item:
            raise wrong(field, at, "whole milliseconds", item)
        return wall_ms


class _Offset(FieldCheck[int]):
    """Milliseconds as SenML's seconds: a decimal fraction with exponent -3."""

    rule = "tag 4 [-3, milliseconds]"
    _check: Final = Integer(-_HALF, _HALF - 1)

    def pack(self, value: object, field: str) -> CBORTag:
        """See :meth:`FieldCheck.pack`; ``value`` is in ms."""
        return CBORTag(DECIMAL_FRACTION, [-3, self._check.pack(value, field)])

    def unpack(self, item: Item, field: str, at: int) -> int:
        """See :meth:`FieldCheck.unpack`."""
        parts = item.value if isinstance(item, Tagged) else None
        if not isinstance(parts, list) or len(parts) != 2 or parts[0] != -3:
            raise wrong(field, at, self.rule, kind_of(item))
        return self._check.unpack(parts[1], field, at)


def _is_point_name(text: str) -> bool:
    return is_name(text) and text not in _RESERVED and not text.endswith(QUALITY_SUFFIX)


POINT_NAME: Final = Text(
    MAX_NAME_LENGTH,
    f"1 to {MAX_NAME_LENGTH} of A-Za-z0-9-:./_, letter or digit first; not "
    f"{', '.join(_RESERVED)}, nor ending in {QUALITY_SUFFIX}",
    _is_point_name,
)
UNIT: Final = Text(MAX_UNIT_LENGTH, "a SenML unit", is_unit)
EXPONENT: Final = Integer(-MAX_EXP10, MAX_EXP10)


class _FailedName(FieldCheck[str]):
    """The name of a point with the suffix that marks a point without a reading."""

    rule = "the point's name and " + QUALITY_SUFFIX

    def pack(self, value: object, field: str) -> str:
        """See :meth:`FieldCheck.pack`."""
        return f"{POINT_NAME.pack(value, field)}{QUALITY_SUFFIX}"

    def unpack(self, item: Item, field: str, at: int) -> str:
        """See :meth:`FieldCheck.unpack`."""
        if type(item) is not str:
            raise wrong(field, at, "text", kind_of(item))
        if not item.endswith(QUALITY_SUFFIX):
            raise wrong(field, at, self.rule, repr(item[:MAX_NAME_LENGTH]))
        return POINT_NAME.unpack(item[: -len(QUALITY_SUFFIX)], field, at)


# --- the head -----------------------------------------------------------------------------------


def _make_stamp(
    req_ms: int, resp_delta_ms: int, clock_state: int, unc_ms: int, wall_ms: int | None
) -> Stamp:
    return Stamp(req_ms, req_ms + resp_delta_ms, wall_ms, unc_ms, clock_state)


def _take_stamp(stamp: Stamp) -> tuple[object, ...]:
    delta = stamp.resp_ms - stamp.req_ms
    return stamp.req_ms, delta, stamp.clock_state, stamp.unc_ms, stamp.wall_ms


def _stamp_agrees(stamp: Stamp) -> Mismatch | None:
    if stamp.resp_ms > MAX_WALL_MS:
        expected = f"an answer before {MAX_WALL_MS}"
        return Mismatch(expected, stamp.resp_ms, field="resp_delta_ms")
    if (stamp.wall_ms is None) != (stamp.clock_state == CLOCK_NONE):
        got = f"{stamp.wall_ms}, state {stamp.clock_state}"
        return Mismatch("no time exactly with clock state 0", got, field="bt")
    return None


# "tf" of the head, after the kind; the last one is its bt.
STAMP: Final = Layout(
    _make_stamp,
    FormatField("req_ms", BOOT_MS, "when the device was asked, ms since the gateway's boot"),
    FormatField("resp_delta_ms", U32, "from request to response"),
    FormatField("clock_state", CLOCK_STATE, "0 none, 1 holdover, 2 from a receipt, 3 NTP or GNSS"),
    FormatField("unc_ms", BOOT_MS, "how far wall time may be off"),
    FormatField("bt", _WallSeconds(), "wall time of the response in seconds"),
    take=_take_stamp,
    agree=_stamp_agrees,
)
STAMP_ITEMS: Final = len(STAMP.fields) - 1  # of them stand in "tf"


def is_stamp(stamp: Stamp) -> bool:
    """Return whether STAMP can pack ``stamp``, in a third of the time, for each poll."""
    wall_ms = stamp.wall_ms
    return (
        0 <= stamp.req_ms <= stamp.resp_ms <= MAX_WALL_MS
        and stamp.resp_ms - stamp.req_ms <= MAX_U32
        and 0 <= stamp.unc_ms <= MAX_WALL_MS
        and (
            stamp.clock_state == CLOCK_NONE
            if wall_ms is None
            else CLOCK_NONE < stamp.clock_state <= CLOCK_SYNCHRONISED
            and MIN_WALL_MS <= wall_ms <= MAX_WALL_MS
        )
    )


def _gap_agrees(gap: Gap) -> Mismatch | None:
    return _range_agrees("first", gap.first, "last", gap.last) or _range_agrees(
        "from_ms", gap.from_ms, "to_ms", gap.to_ms
    )


def _range_agrees(begin: str, low: int | None, end: str, high: int | None) -> Mismatch | None:
    if low is None or high is None:
        if low is high:
            return None
        return Mismatch(f"{begin} and {end}, or neither", f"{low}, {high}", field=begin)
    return Mismatch(f"{low} or more", high, field=end) if high < low else None


_SLOT_MS: Final = Integer(-MAX_WALL_MS, MAX_WALL_MS)  # below 0: before the gateway's boot

# The head's vs, then "tf" after the stamp.
GAP_FIELDS: Final = Layout(
    Gap,
    FormatField("cause", Word(CAUSES), "why the readings are missing"),
    FormatField("boot_epoch", OrNull(U32), "the node's boot that the samples belong to"),
    FormatField("first", OrNull(Integer(0, MAX_GAP_NUMBER)), "number of the first missing sample"),
    FormatField("last", OrNull(Integer(0, MAX_GAP_NUMBER)), "number of the last missing sample"),
    FormatField("detail", Text(MAX_DETAIL_LENGTH), "for people"),
    FormatField("slots", OrNull(Integer(1, MAX_WALL_MS)), "how many polls brought nothing"),
    FormatField("from_ms", OrNull(_SLOT_MS), "when the first of them was due, as req_ms"),
    FormatField("to_ms", OrNull(_SLOT_MS), "when the last of them was due, as req_ms"),
    agree=_gap_agrees,
)


def _part_agrees(part: FilePart) -> Mismatch | None:
    end = part.offset + len(part.data)
    return (
        Mismatch(f"an end of at most size, {part.size}", end, field="data")
        if (end > part.size)
        else None
    )


# The head's vs, then "tf" after the stamp.
FILE_FIELDS: Final = Layout(
    FilePart,
    FormatField("file", Word(FILES), "what the file is"),
    FormatField("boot_epoch", U32, "the node's boot in which it was handed over"),
    FormatField("number", U32, "the node's number of it; of a picture, arg of its image-sent"),
    FormatField("sha256", Bytes(32), "of the whole file"),
    FormatField("size", Integer(1, MAX_FILE_BYTES), "bytes of the whole file"),
    FormatField("offset", Integer(0, MAX_FILE_BYTES), "where this part begins"),
    FormatField("data", Bytes(1, MAX_PART_BYTES), "the part"),
    agree=_part_agrees,
)
# The head's vs, then "tf" after the stamp.
ACTION_FIELDS: Final = Layout(
    Action,
    FormatField("name", Word(ACTIONS), "what was done"),
    FormatField("operator", Text(MAX_OPERATOR_LENGTH), "who did it; empty: the gateway itself"),
    FormatField("arg", U32, "the number that it is about; of an update the version"),
    FormatField("detail", Text(MAX_ACTION_DETAIL), "for people"),
)
# The last fields of GAP_FIELDS. A gap that is not about polls ends before them.
SLOT_FIELDS: Final = 3

KIND: Final = U16
STATUS: Final = U16
NO_STATUS: Final = Integer(0, 0)  # of a third-party device
FRAME: Final = Bytes(1, MAX_FRAME_BYTES)
# kind -> how many elements "tf" has after the stamp
TAIL_ITEMS: Final = {
    PROFILE: 0,
    SAMPLE: 1,
    EVENTS: 1,
    GAP: len(GAP_FIELDS.fields) - 1,
    FILE: len(FILE_FIELDS.fields) - 1,
    ACTION: len(ACTION_FIELDS.fields) - 1,
}


def head_name(kind: int) -> str:
    """Return what n of the head is in a record of this kind."""
    return {GAP: GAP_NAME, FILE: FILE_NAME, ACTION: ACTION_NAME}.get(kind, STATUS_NAME)


def head_value(kind: int) -> int:
    """Return the label of the head's value: status bits, or the word that its kind begins with."""
    return senml.STRING if kind in (GAP, FILE, ACTION) else senml.VALUE


# --- the maps behind it -------------------------------------------------------------------------

POINT_LABELS: Final[frozenset[int | str]] = frozenset((senml.NAME, senml.VALUE))
POINT_UNIT_LABELS: Final[frozenset[int | str]] = POINT_LABELS | {senml.UNIT}

# The map's n and vs.
FAILURE: Final = Layout(
    Failure,
    FormatField("name", _FailedName(), "which point has no reading"),
    FormatField("quality", Word(POINT_QUALITIES, BAD_VALUE), "why"),
)
FAILURE_LABELS: Final[frozenset[int | str]] = frozenset((senml.NAME, senml.STRING))

# The map's "tf" [number, arg], vs and t; its n is EVENT_NAME.
EVENT: Final = Layout(
    NodeEvent,
    FormatField("number", Integer(1, MAX_U32), "counts from 1 at the node's boot, without a hole"),
    FormatField("name", Text(32), "what happened"),
    FormatField("arg", U16, "what it is about"),
    FormatField("offset_ms", _Offset(), "when, against bt"),
)
EVENT_LABELS: Final[frozenset[int | str]] = frozenset(
    (senml.NAME, senml.STRING, senml.TIME, EXTENSION)
)
