"""A point with everything settled: where its bytes are, and the functions that read them.

Defaults of the profile are filled in, registers counted from 0, and what costs time is done once:
a poll calls :attr:`Cell.code` through ``struct`` and then, where there is more to do, one function.
"""

from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from msgspec import Struct

from protocols.uplink import NO_VALUE, DecimalFraction
from protocols.wire.register_names import QUALITY_NAMES
from protocols.wire.registers import FAULT, NOT_FITTED, RANGE, WARMUP

from .codes import BitPattern, Codes, bit_reader, parse_codes
from .language import (
    BIT_TABLES,
    FUNCTIONS,
    ORDERS,
    Order,
    PointSpec,
    ProfileHead,
    StatusSpec,
    Table,
)
from .raw_types import (
    FLOAT,
    INTEGER,
    RAW_TYPES,
    TEXT,
    DeviceText,
    RawType,
    RawValue,
    float_reader,
    text_reader,
)
from .scaling import LEAST_EXP10, RawLimits, limits_of, maker, record_exp10, scaling_of

# Why a point has no value, as it stands in the record.
REPORTS_FAULT: Final = QUALITY_NAMES[FAULT]
OUT_OF_RANGE: Final = QUALITY_NAMES[RANGE]


# An integer (scaled by the point's exponent), one with its own exponent, a float as it is, text, a
# quality's name, or None: no answer.
Value: TypeAlias = int | float | DecimalFraction | str | None
# From what ``struct`` gives for the cell's code.
Finish: TypeAlias = Callable[..., Value]


class Cell(NamedTuple):
    """Bytes that are read as one raw value.

    ``picks``: offsets from the first byte of register ``address``, the highest byte first; empty
    for a coil, whose place in a byte depends on the request.
    """

    function: int
    address: int
    words: int
    picks: tuple[int, ...]
    code: str
    alone: bool = False


def cell(
    function: int,
    address: int,
    size: int,
    code: str,
    word_order: Order = "big",
    byte_order: Order = "big",
    alone: bool = False,
) -> Cell:
    """Return the cell of ``size`` bytes from register ``address`` on."""
    words = (size + 1) // 2
    order = range(words) if word_order == "big" else range(words - 1, -1, -1)
    pair = (0, 1) if byte_order == "big" else (1, 0)
    picks = tuple(2 * word + half for word in order for half in pair)
    return Cell(function, address, words, picks, code or f"{size}s", alone)


class StatusCheck(NamedTuple):
    """Which codes of a status register stand for which quality; "" for a good value."""

    cases: tuple[tuple[str, Codes], ...]
    otherwise: str

    def quality(self, code: int) -> str:
        """Return the quality that goes with a code."""
        for name, codes in self.cases:
            if code in codes.values or _matches(codes.patterns, code):
                return name
        return self.otherwise


def status_check(spec: StatusSpec) -> StatusCheck:
    """Return the check of a status register. ValueError: a code that can never match."""
    word = RAW_TYPES["u16"]
    lists = {
        FAULT: spec.fault,
        RANGE: spec.out_of_range,
        WARMUP: spec.warm_up,
        NOT_FITTED: spec.not_fitted,
    }
    cases = [(QUALITY_NAMES[key], parse_codes(codes, word, 2)) for key, codes in lists.items()]
    good = parse_codes(spec.ok, word, 2)
    return StatusCheck((("", good), *cases), "" if good.is_empty else REPORTS_FAULT)


class ProfilePoint(Struct, frozen=True):
    """One point of a profile, ready to be read."""

    spec: PointSpec
    raw: RawType
    cell: Cell
    finish: Finish | None  # from the raw value to the value, if one of the next does not do
    plain_bit: int | None  # the value is this bit of the raw one
    checked: bool  # the value is the raw one, if within the limits
    linear: tuple[int, int] | None  # the same, with a factor and an offset
    scale: Cell | None
    status: Cell | None
    status_check: StatusCheck | None
    exp10: int  # of its integers in records
    limits: RawLimits

    @property
    def is_text(self) -> bool:
        """Return whether it is text, which records do not carry."""
        return self.raw.kind == TEXT

    @property
    def is_bit(self) -> bool:
        """Return whether it is a coil or a discrete input."""
        return not self.cell.picks

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Return everything that has to be read for it."""
        return tuple(part for part in (self.cell, self.scale, self.status) if part is not None)


def table_of(point: PointSpec, head: ProfileHead) -> Table:
    """Return the table that the point is read from."""
    return head.table if point.table is None else point.table


def orders_of(point: PointSpec, head: ProfileHead) -> tuple[Order, Order]:
    """Return the order of words and of bytes of a point."""
    words: Order = "big"
    order: Order = "big"
    for level in (head, point):
        if level.order is not None:
            words, order = ORDERS[level.order]
        words = words if level.word_order is None else level.word_order
        order = order if level.byte_order is None else level.byte_order
    return words, order


def size_of(point: PointSpec) -> int:
    """Return how many bytes the point's value has."""
    return 2 * (point.words or 0) if point.type == "string" else RAW_TYPES[point.type].size


def raw_range(point: PointSpec) -> tuple[int, int]:
    """Return the smallest and the largest integer that a register can give for the point."""
    raw = RAW_TYPES[point.type]
    if point.type == "bool" or point.bit is not None:
        return 0, 1
    if point.mask is not None:
        return 0, point.mask >> shift_of(point)
    return raw.low, raw.high


def shift_of(point: PointSpec) -> int:
    """Return by how many bits the masked value is shifted; by default to the mask's lowest bit."""
    if point.shift is not None:
        return point.shift
    mask = point.mask or 1
    return (mask & -mask).bit_length() - 1


def make_point(spec: PointSpec, head: ProfileHead) -> ProfilePoint:
    """Return the point ready to be read; its keys agree with each other (:mod:`.rules`)."""
    raw = RAW_TYPES[spec.type]
    table = table_of(spec, head)
    function = FUNCTIONS[table]
    address = spec.register - head.base
    alone = spec.never_join or head.never_join
    low, high = raw_range(spec)
    limits = limits_of(spec, raw, low, high) if raw.kind != TEXT else RawLimits(0, 0)
    if table in BIT_TABLES:
        own = Cell(function, address, 1, (), "B", alone)
        return ProfilePoint(spec, raw, own, None, None, False, None, None, None, None, 0, limits)
    words, order = orders_of(spec, head)
    size = size_of(spec)
    code = "" if _reads_bits(spec, raw) else raw.code
    own = cell(function, address, size, code, words, order, alone)
    if size == 1:
        own = own._replace(picks=(0,) if spec.half == "high" else (1,))
    scale = status = check = None
    if spec.scale_register is not None:
        scale = cell(function, spec.scale_register - head.base, 2, "h", byte_order=order)
    if spec.status is not None:
        status = cell(function, spec.status.register - head.base, 2, "H", byte_order=order)
        check = status_check(spec.status)
    finish, bit, checked, linear = _way(spec, raw, limits)
    return ProfilePoint(
        spec, raw, own, finish, bit, checked, linear, scale, status, check,
        record_exp10(spec, raw), limits,
    )  # fmt: skip


def _reads_bits(spec: PointSpec, raw: RawType) -> bool:
    """Return whether the point is a float of which bits count: they are lost in one that is none.

    A processor that turns a float into a longer one changes the bits of signalling not-a-numbers.
    """
    return raw.kind == FLOAT and bool(parse_codes(spec.invalid, raw, size_of(spec)).patterns)


def _matches(patterns: tuple[BitPattern, ...], bits: int) -> bool:
    return any(bits & pattern.mask == pattern.value for pattern in patterns)


class _Way(NamedTuple):
    """How a raw value becomes a value: the first of these that is set, else it is one."""

    finish: Finish | None = None
    bit: int | None = None
    checked: bool = False
    linear: tuple[int, int] | None = None


def _way(spec: PointSpec, raw: RawType, limits: RawLimits) -> _Way:
    """Return the cheapest way that does all a point needs."""
    size = size_of(spec)
    text = text_reader(spec.encoding) if raw.kind == TEXT else None
    convert = text or raw.convert
    if _reads_bits(spec, raw):
        convert = float_reader(raw)
    codes = parse_codes(spec.invalid, raw, size)
    make = None if raw.kind == TEXT else maker(scaling_of(spec, raw), raw)
    shift, mask = shift_of(spec), spec.mask
    if spec.bit is not None:
        shift, mask = spec.bit, 1 << spec.bit
    truth = spec.type == "bool"
    if convert is None and mask is None and not truth and not codes.patterns:
        if codes.values:
            return _Way(_coded(codes.values, limits, make))
        if make is None:
            low, high = raw_range(spec)
            return _Way(checked=limits.low > low or limits.high < high or raw.kind == FLOAT)
        factor, offset, exp10 = scaling_of(spec, raw)
        if raw.kind == INTEGER and exp10 >= LEAST_EXP10:
            return _Way(linear=(factor, offset))
        return _Way(_coded(frozenset(), limits, make))
    low, high = raw_range(spec)
    is_open = limits.low == low and limits.high == high
    whole = is_open and make is None and codes.is_empty
    if whole and spec.bit is not None:
        return _Way(bit=spec.bit)
    if whole and mask is not None and convert is None:
        return _Way(_part(mask, shift))
    if text is not None and codes.is_empty:
        return _Way(_remembered(text))
    return _Way(_General(convert, codes, bit_reader(size), mask, shift, truth, limits, make).finish)


def _part(mask: int, shift: int) -> Finish:
    def finish(raw: int) -> int:
        return (raw & mask) >> shift

    return finish


def _remembered(convert: Callable[[bytes], RawValue | None]) -> Finish:
    """Return the reader of a text, which is nearly always the one it was before."""
    known: dict[bytes, Value] = {}

    def finish(raw: bytes) -> Value:
        text = known.get(raw)
        if text is None:
            known.clear()
            value = convert(raw)
            text = known[raw] = REPORTS_FAULT if value is None else value
        return text

    return finish


def beyond(value: float) -> str:
    """Return why a number that is not within the limits is no value."""
    return OUT_OF_RANGE if value - value == 0 else REPORTS_FAULT  # not a number, infinite


def _coded(
    codes: frozenset[RawValue], limits: RawLimits, make: Callable[[float], float] | None
) -> Finish:
    low, high = limits

    def finish(raw: float) -> Value:
        if raw in codes:
            return NO_VALUE
        if not low <= raw <= high:
            return beyond(raw)
        return raw if make is None else make(raw)

    return finish


class _General(NamedTuple):
    """Every step that a point may need, in their order."""

    convert: Callable[[bytes], RawValue | None] | None
    codes: Codes
    bits: Callable[[int | bytes], int]
    mask: int | None
    shift: int
    truth: bool
    limits: RawLimits
    make: Callable[[float], float] | None

    def finish(self, raw: RawValue | bytes) -> Value:
        """Return the value, or the quality that the point has instead."""
        value = self.convert(raw) if self.convert and isinstance(raw, bytes) else raw
        if value is None:
            return REPORTS_FAULT
        if value in self.codes.values:
            return NO_VALUE
        if (
            self.codes.patterns
            and isinstance(raw, int | bytes)
            and _matches(self.codes.patterns, self.bits(raw))
        ):
            return NO_VALUE
        if isinstance(value, (DeviceText, bytes)):
            return DeviceText(value) if isinstance(value, DeviceText) else REPORTS_FAULT
        if self.truth:
            value = 1 if value else 0
        elif self.mask is not None and isinstance(value, int):
            value = (value & self.mask) >> self.shift
        if not self.limits.low <= value <= self.limits.high:
            return beyond(value)
        return self.make(value) if self.make else value
