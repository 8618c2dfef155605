"""Turns the answers of one device into values and records, by a plan that is made once.

All values of a poll come out of the answers by one ``struct`` call. Where the device's byte order
is not the network's, or points share registers, the bytes are put in order before, by one lookup
of all positions. What a point needs beyond that (bounds, codes, scaling) is one function, see
:mod:`.points`; a plain register needs none.
"""

import struct
from collections.abc import Callable, Collection, Sequence
from operator import itemgetter
from typing import Final, NamedTuple, TypeVar

from gateway_agent.config import Bus
from gateway_agent.field.planner import NO_CUTS, Cuts, JoinRules
from protocols.uplink import ProfileTemplate, Record, Stamp

from .model import Profile
from .points import Cell, Finish, ProfilePoint, StatusCheck, Value
from .scale_register import Apply, scaler

T = TypeVar("T")


class _Slot(NamedTuple):
    """The bytes of one cell in the answers, joined: their positions and their ``struct`` code."""

    positions: tuple[int, ...]
    code: str
    block: int


class _Unpacker:
    """Takes the raw values of all slots out of the joined answers."""

    def __init__(self, slots: Sequence[_Slot], length: int) -> None:
        distinct = sorted(set(slots))
        format, order = ">", list[int]()
        for slot in distinct:
            format += slot.code
            order += slot.positions
        pads = _with_pads(distinct, length)
        self._reorder: Callable[[bytes], tuple[int, ...]] | None = None
        if pads is None:
            self._reorder = _getter(order)
        self._unpack = struct.Struct(format if pads is None else pads).unpack
        at = {slot: index for index, slot in enumerate(distinct)}
        indexes = [at[slot] for slot in slots]
        self._pick = None if indexes == list(range(len(distinct))) else _getter(indexes)

    def values(self, data: bytes) -> tuple[object, ...]:
        """Return one raw value per slot."""
        if self._reorder is not None:
            data = bytes(self._reorder(data))
        raw: tuple[object, ...] = self._unpack(data)
        return raw if self._pick is None else self._pick(raw)


def _getter(indexes: Sequence[int]) -> Callable[[Sequence[T]], tuple[T, ...]]:
    if len(indexes) == 1:
        (only,) = indexes
        return lambda items: (items[only],)
    return itemgetter(*indexes)


def _with_pads(slots: Sequence[_Slot], length: int) -> str | None:
    """Return the format that skips what is between the slots; None if they are not in order."""
    format, at = ">", 0
    for slot in slots:
        first = slot.positions[0]
        if first < at or slot.positions != tuple(range(first, first + len(slot.positions))):
            return None
        format += f"{first - at}x{slot.code}"
        at = first + len(slot.positions)
    return f"{format}{length - at}x"


class _Step(NamedTuple):
    """What is left to do for one point after its raw value was unpacked."""

    at: int
    finish: Finish


class _Scaled(NamedTuple):
    """A point that a register of the device scales."""

    at: int
    slot: int
    apply: Apply


class _Judged(NamedTuple):
    """A point whose quality a register of the device gives."""

    at: int
    slot: int
    check: StatusCheck
    known: dict[int, str]


class ProfileDecoder:
    """Turns the answers of one device into records. ``reads[i]`` is the request of block i.

    ``groups``: decode the points of these groups only; None: all points.
    """

    def __init__(
        self,
        profile: Profile,
        device_id: str,
        bus: Bus,
        groups: Collection[str] | None = None,
        cuts: Cuts = NO_CUTS,
    ) -> None:
        self.profile = profile
        self.points: Final = profile.points_of(groups)
        self.reads = profile.reads(JoinRules.of(bus, cuts), groups)
        self._indexes: list[int] | None = None  # of the points in the profile; None: all of them
        if len(self.points) < len(profile.points):
            at = {point.spec.name: index for index, point in enumerate(profile.points)}
            self._indexes = [at[point.spec.name] for point in self.points]
        self._sizes = [read.data_bytes for read in self.reads]
        recorded = [point for point in self.points if not point.is_text]
        self._template = template_of(recorded, device_id)
        self._recorded = None
        if len(recorded) < len(self.points):
            self._recorded = [i for i, point in enumerate(self.points) if not point.is_text]
        slots = [self._place(point.cell) for point in self.points]
        self._steps = [
            _Step(index, finish)
            for index, (point, slot) in enumerate(zip(self.points, slots, strict=True))
            if (finish := self._finish(point, slot)) is not None
        ]
        self._scaled: list[_Scaled] = []
        self._judged: list[_Judged] = []
        self._blocks = [{slot.block} for slot in slots]  # that each point comes from
        for index, point in enumerate(self.points):
            if point.scale is not None:
                self._scaled.append(_Scaled(index, len(slots), scaler(point)))
                slots.append(self._place(point.scale))
                self._blocks[index].add(slots[-1].block)
            if point.status is not None and point.status_check is not None:
                self._judged.append(_Judged(index, len(slots), point.status_check, {}))
                slots.append(self._place(point.status))
                self._blocks[index].add(slots[-1].block)
        self._unpacker = _Unpacker(slots, sum(self._sizes))
        self._plain = len(slots) == len(self.points) and not self._steps

    def _place(self, cell: Cell) -> _Slot:
        """Return where the bytes of a cell are in the answers."""
        start = 0
        found: _Slot | None = None
        for block, read in enumerate(self.reads):
            first = cell.address - read.address
            if read.function == cell.function and 0 <= first <= read.words - cell.words:
                # What is read alone has a request of its own, and nobody else uses that.
                exact = read.words == cell.words
                if cell.picks:
                    positions = tuple(start + 2 * first + pick for pick in cell.picks)
                else:
                    positions = (start + first // 8,)
                found = _Slot(positions, cell.code, block)
                if exact == cell.alone:
                    return found
            start += self._sizes[block]
        assert found is not None, f"no read covers {cell}"  # Profile.reads covers every cell
        return found

    def _finish(self, point: ProfilePoint, slot: _Slot) -> Finish | None:
        if not point.is_bit:
            return point.finish
        bit = (point.cell.address - self.reads[slot.block].address) % 8
        return lambda raw: raw >> bit & 1

    def values(self, answers: Sequence[bytes | str | None]) -> tuple[Value, ...]:
        """Return one value per point.

        An answer is the data of a block, None if none came, or the name of the quality that all
        points of the block get.
        """
        whole = True
        parts: list[bytes] = []
        for answer, size in zip(answers, self._sizes, strict=True):
            if isinstance(answer, bytes):
                parts.append(answer)
            else:
                whole = False
                parts.append(bytes(size))
        raw = self._unpacker.values(parts[0] if len(parts) == 1 else b"".join(parts))
        if self._plain and whole:
            return raw  # type: ignore[return-value]  # numbers, as struct gives them
        values: list[Value] = list(raw[: len(self.points)])  # type: ignore[arg-type]  # or bytes
        for index, finish in self._steps:
            values[index] = finish(values[index])
        for index, slot, apply in self._scaled:
            if not isinstance(values[index], str):
                values[index] = apply(values[index], raw[slot])  # type: ignore[arg-type]  # i16
        for index, slot, check, known in self._judged:
            code = raw[slot]
            assert isinstance(code, int)  # u16
            quality = known.get(code)
            if quality is None:
                quality = known[code] = check.quality(code)
            if quality:
                values[index] = quality
        if not whole:
            self._blame(values, answers)
        return tuple(values)

    def _blame(self, values: list[Value], answers: Sequence[bytes | str | None]) -> None:
        """Put the reason in place of each value that a block without an answer belongs to."""
        for index, blocks in enumerate(self._blocks):
            for block in blocks:
                answer = answers[block]
                if not isinstance(answer, bytes):
                    values[index] = answer

    def merged(self, newest: Sequence[Value], values: tuple[Value, ...]) -> Sequence[Value]:
        """Return the newest values of all points of the profile, these being some of them."""
        if self._indexes is None:
            return values
        result = list(newest) or [None] * len(self.profile.points)
        for index, value in zip(self._indexes, values, strict=True):
            result[index] = value
        return result

    def record(self, values: tuple[Value, ...], stamp: Stamp) -> Record:
        """Return the record of one poll. Text stays here: a record holds numbers."""
        if self._recorded is not None:
            values = tuple(values[index] for index in self._recorded)
        return self._template.record(values, stamp)


def template_of(points: Sequence[ProfilePoint], device_id: str) -> ProfileTemplate:
    """Return the record writer of one device with these points."""
    return ProfileTemplate(
        device_id, [(point.spec.name, point.spec.unit, point.exp10) for point in points]
    )
