"""Turns the answers of one device into values and records, by a plan that is made once.

All raw values come out of the answers at once (:mod:`.unpack`). What points need beyond that is
done in one loop for each kind: limits, integer factors, scale registers, status registers. Only
what fits none of them is a function of its own, see :mod:`.points`; a plain register needs nothing.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Final, NamedTuple
from weakref import WeakValueDictionary

from gateway_agent.config import Bus
from gateway_agent.field.planner import NO_CUTS, Cuts, JoinRules
from protocols.uplink import DecimalFraction, ProfileTemplate, Record, Stamp

from .model import Profile
from .points import OUT_OF_RANGE, Cell, Finish, ProfilePoint, StatusCheck, Value, beyond
from .scale_register import PowerOfTen, ScaleRule
from .unpack import ByteSlot, Unpacker, picker

_NEW_TUPLE: Final = tuple.__new__  # of a named one, without its own call


class _Check(NamedTuple):
    """A point whose raw value is its value if it lies within the limits."""

    at: int
    low: float
    high: float


class _Linear(NamedTuple):
    """The same, with a factor and an offset in integers."""

    at: int
    low: float
    high: float
    factor: int
    offset: int


class _Step(NamedTuple):
    """A point that needs a function of its own."""

    at: int
    finish: Finish


class _Scaled(NamedTuple):
    """The points that one register of the device scales. ``powers``: by the register's content."""

    slot: int
    points: list[tuple[int, ScaleRule]]
    powers: dict[int, list[tuple[int, PowerOfTen | None]]]


class _Checked(NamedTuple):
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
        self._recorded: Callable[[tuple[Value, ...]], tuple[Value, ...]] | None = None
        if len(recorded) < len(self.points):
            self._recorded = picker(
                [index for index, point in enumerate(self.points) if not point.is_text]
            )
        slots = [self._slot(point) for point in self.points]
        self._checks: list[_Check] = []
        self._linears: list[_Linear] = []
        self._steps: list[_Step] = []
        for index, point in enumerate(self.points):
            self._add_step(index, point)
        self._scaled: list[_Scaled] = []
        self._checked: list[_Checked] = []
        self._blocks = [{slot.block} for slot in slots]  # that each point comes from
        for index, point in enumerate(self.points):
            if point.scale is not None:
                self._add_scale(index, point, self._place(point.scale), slots)
            if point.status is not None and point.status_check is not None:
                self._checked.append(_Checked(index, len(slots), point.status_check, {}))
                slots.append(self._place(point.status))
                self._blocks[index].add(slots[-1].block)
        self._unpacker = Unpacker(slots, sum(self._sizes))
        #: Whether all values of a whole answer are numbers, just as they stand in it.
        self.is_plain: Final = len(slots) == len(self.points) and not (
            self._steps or self._checks or self._linears
        )

    def twin(self, device_id: str) -> "ProfileDecoder":
        """Return the decoder of another device: all but the writer of its records is shared."""
        twin = object.__new__(ProfileDecoder)
        for name, value in vars(self).items():
            setattr(twin, name, value)
        recorded = [point for point in self.points if not point.is_text]
        twin._template = template_of(recorded, device_id)
        return twin

    def _slot(self, point: ProfilePoint) -> ByteSlot:
        """Return the slot of a point; a single bit is read as such."""
        slot = self._place(point.cell)
        if point.is_bit:
            bit = (point.cell.address - self.reads[slot.block].address) % 8
            return ByteSlot(slot.positions, "", slot.block, bit)
        if point.plain_bit is not None:
            byte, bit = divmod(point.plain_bit, 8)
            return ByteSlot((slot.positions[-1 - byte],), "", slot.block, bit)
        return slot

    def _add_step(self, index: int, point: ProfilePoint) -> None:
        if point.finish is not None:
            self._steps.append(_Step(index, point.finish))
        elif point.linear is not None:
            self._linears.append(_Linear(index, *point.limits, *point.linear))
        elif point.checked:
            self._checks.append(_Check(index, *point.limits))

    def _add_scale(
        self, index: int, point: ProfilePoint, slot: ByteSlot, slots: list[ByteSlot]
    ) -> None:
        self._blocks[index].add(slot.block)
        for scaled in self._scaled:
            if slots[scaled.slot] == slot:
                scaled.points.append((index, ScaleRule(point)))
                return
        self._scaled.append(_Scaled(len(slots), [(index, ScaleRule(point))], {}))
        slots.append(slot)

    def _place(self, cell: Cell) -> ByteSlot:
        """Return where the bytes of a cell are in the answers."""
        start = 0
        found: ByteSlot | None = None
        for block, read in enumerate(self.reads):
            first = cell.address - read.address
            if read.function == cell.function and 0 <= first <= read.words - cell.words:
                # What is read alone has a request of its own, and nobody else uses that.
                exact = read.words == cell.words
                if cell.picks:
                    positions = tuple(start + 2 * first + pick for pick in cell.picks)
                else:
                    positions = (start + first // 8,)
                found = ByteSlot(positions, cell.code, block)
                if exact == cell.alone:
                    return found
            start += self._sizes[block]
        assert found is not None, f"no read covers {cell}"  # Profile.reads covers every cell
        return found

    def values(self, answers: Sequence[bytes | str | None]) -> tuple[Value, ...]:
        """Return one value per point.

        An answer is the data of a block, None if none came, or the name of the quality that all
        points of the block get.
        """
        whole = True
        data = answers[0] if len(answers) == 1 else None
        if not isinstance(data, bytes):
            parts: list[bytes] = []
            for answer, size in zip(answers, self._sizes, strict=True):
                if isinstance(answer, bytes):
                    parts.append(answer)
                else:
                    whole = False
                    parts.append(bytes(size))
            data = b"".join(parts)
        raw = self._unpacker.values(data)
        if self.is_plain and whole:
            return raw  # type: ignore[return-value]  # numbers, as struct gives them
        values: list[Value] = list(raw[: len(self.points)])  # type: ignore[arg-type]  # or bytes
        self._finish(values)
        for scaled in self._scaled:
            _scale(values, scaled, raw[scaled.slot])
        for index, slot, check, known in self._checked:
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

    def _finish(self, values: list[Value]) -> None:
        """Turn raw values into values. The loops are written out: a call would cost more."""
        value: float
        for index, low, high in self._checks:
            value = values[index]  # type: ignore[assignment]  # a number, as the next ones
            if not low <= value <= high:
                values[index] = beyond(value)
        for index, low, high, factor, offset in self._linears:
            value = values[index]  # type: ignore[assignment]
            values[index] = value * factor + offset if low <= value <= high else OUT_OF_RANGE
        for index, finish in self._steps:
            values[index] = finish(values[index])

    def _blame(self, values: list[Value], answers: Sequence[bytes | str | None]) -> None:
        """Put the reason in place of each value that a block without an answer belongs to."""
        for index, blocks in enumerate(self._blocks):
            for block in blocks:
                answer = answers[block]
                if not isinstance(answer, bytes):
                    values[index] = answer

    def incomplete_groups(self, answers: Sequence[bytes | str | None]) -> set[str]:
        """Return the groups of the points that a request without an answer belongs to."""
        return {
            point.spec.group
            for point, blocks in zip(self.points, self._blocks, strict=True)
            if any(answers[block] is None for block in blocks)
        }

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
            values = self._recorded(values)
        return self._template.record(values, stamp)


def _scale(values: list[Value], scaled: _Scaled, content: object) -> None:
    """Scale the points of one scale register by its content, an i16."""
    assert isinstance(content, int)
    powers = scaled.powers.get(content)
    if powers is None:
        powers = [(index, rule.power(content)) for index, rule in scaled.points]
        scaled.powers[content] = powers
    for index, power in powers:
        value = values[index]
        if type(value) is int and power is not None:
            low, high, factor, exp10 = power
            if not low <= value <= high:
                values[index] = OUT_OF_RANGE
            elif exp10 is None:
                values[index] = value * factor
            else:
                values[index] = _NEW_TUPLE(DecimalFraction, (value * factor, exp10))
        elif not isinstance(value, str):
            rule = next(rule for at, rule in scaled.points if at == index)
            values[index] = rule.apply(value, content)


_decoders: Final["WeakValueDictionary[object, ProfileDecoder]"] = WeakValueDictionary()


def decoder_of(
    profile: Profile, device_id: str, bus: Bus, groups: Collection[str] | None, cuts: Cuts
) -> ProfileDecoder:
    """Return a decoder that shares what it can with those of other devices of ``profile``."""
    of_groups = None if groups is None else frozenset(groups)
    key = id(profile), JoinRules.of(bus, cuts), of_groups  # a decoder keeps its profile
    first = _decoders.get(key)
    if first is not None:
        return first.twin(device_id)
    decoder = _decoders[key] = ProfileDecoder(profile, device_id, bus, groups, cuts)
    return decoder


def template_of(points: Sequence[ProfilePoint], device_id: str) -> ProfileTemplate:
    """Return the record writer of one device with these points."""
    return ProfileTemplate(
        device_id, [(point.spec.name, point.spec.unit, point.exp10) for point in points]
    )
