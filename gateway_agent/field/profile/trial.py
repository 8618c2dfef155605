"""Reads one device once with a profile, and looks for what is wrong with the profile.

Nobody can see in a number alone that its words are in the wrong order. So each value is compared
with its bounds, and what looks wrong is read again in every other order (and with the other sign),
to find the one that would look right.
"""

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from gateway_agent.config import Bus
from gateway_agent.field.bus_errors import GIVE_UP, BusDownError, BusError, RefusedError
from gateway_agent.field.master import Master
from gateway_agent.status import PointValue
from protocols.modbus_client import BIT_FUNCTIONS, Read, read_request
from protocols.wire.modbus.pdu import ILLEGAL_ADDRESS

from .decode import ProfileDecoder
from .language import ORDERS, PointSpec
from .model import Profile
from .points import OUT_OF_RANGE, Cell, ProfilePoint, Value, make_point, orders_of
from .raw_types import FLOAT, INTEGER, RAW_TYPES, DeviceText
from .show import point_value

# A float without bounds is taken for a measurement within these sizes.
_SMALL, _LARGE = 1e-6, 1e9
_SIGNED: Final = {"u8": "i8", "u16": "i16", "u32": "i32", "u48": "i48", "u64": "i64"}
_WIDE_INTEGER: Final = 1 << 24  # from here on an integer may be small with its words exchanged
_READ_APART: Final = "read alone it answers: set max_words or gap_words, or never_join"
_NO_PLACE: Final = (
    "the device has no such register: look for base, table and register in the manual"
)


@dataclass(frozen=True, slots=True)
class TriedPoint:
    """One point as it was read: its raw words, its value, and what looks wrong."""

    point: ProfilePoint
    value: PointValue
    raw: str  # hex, a group of digits for each register; empty: not read
    wrong: str  # empty: it looks right


class _Image:
    """What a device answered: its registers and coils, or why they could not be read."""

    def __init__(self) -> None:
        self._words: dict[tuple[int, int], int] = {}
        self._problems: dict[tuple[int, int], str] = {}

    def take(self, read: Read, data: bytes) -> None:
        """Keep the data of an answer."""
        for index in range(read.words):
            if read.function in BIT_FUNCTIONS:
                word = data[index // 8] >> index % 8 & 1
            else:
                word = int.from_bytes(data[2 * index : 2 * index + 2], "big")
            self._words[read.function, read.address + index] = word

    def fail(self, read: Read, problem: str) -> None:
        """Keep why there was no data."""
        for index in range(read.words):
            self._problems[read.function, read.address + index] = problem

    def words(self, read: Read | Cell) -> list[int] | None:
        """Return the registers of a read; None if one of them is missing."""
        places = [(read.function, read.address + index) for index in range(read.words)]
        found = [self._words[place] for place in places if place in self._words]
        return found if len(found) == len(places) else None

    def data(self, read: Read) -> bytes | None:
        """Return the registers of a read as its answer would hold them."""
        words = self.words(read)
        if words is None:
            return None
        if read.function in BIT_FUNCTIONS:
            bits = sum(bit << index for index, bit in enumerate(words))
            return bits.to_bytes(read.data_bytes, "little")
        return b"".join(word.to_bytes(2, "big") for word in words)

    def problem(self, point: ProfilePoint) -> str:
        """Return why the point could not be read."""
        for cell in point.cells:
            for index in range(cell.words):
                problem = self._problems.get((cell.function, cell.address + index))
                if problem:
                    return problem
        return ""


async def try_profile(profile: Profile, bus: Bus, unit: int, master: Master) -> list[TriedPoint]:
    """Read every point once. BusDownError: the port cannot be used."""
    image = _Image()
    await _read(ProfileDecoder(profile, "try", bus).reads, profile, unit, master, image)
    return [_tried(point, profile, bus, image) for point in profile.points]


async def _read(
    reads: tuple[Read, ...], profile: Profile, unit: int, master: Master, image: _Image
) -> None:
    silences = 0
    for read in reads:
        if silences == GIVE_UP:
            image.fail(read, "not asked for, because the device was silent")
            continue
        try:
            image.take(read, await master.read(read_request(unit, read)))
        except RefusedError as error:
            if error.is_silence:
                silences += 1
            parts = _parts(read, profile)
            if error.is_silence or parts == {read}:
                image.fail(read, _refusal(error))
                continue
            # A joined request may be refused for one register in it: ask for each value alone.
            for part in sorted(parts):
                await _read((part,), profile, unit, master, image)
        except BusDownError:
            raise
        except BusError as error:
            if error.cause != "bus_timeout":
                image.fail(read, error.detail)
                continue
            image.fail(read, error.detail)
            single = sorted(_parts(read, profile) - {read})
            if single and not silences:
                # Some devices are silent where others refuse.
                await _read(tuple(single), profile, unit, master, image)
            answered = [part for part in single if image.words(part)]
            for part in answered:
                image.fail(part, f"{error.detail} to a read of {read.words}; {_READ_APART}")
            silences += not answered


def _parts(read: Read, profile: Profile) -> set[Read]:
    """Return the reads of the single values that a joined read covers."""
    return {
        Read(cell.function, cell.address, cell.words)
        for point in profile.points
        for cell in point.cells
        if cell.function == read.function
        and read.address <= cell.address <= read.address + read.words - cell.words
    }


def _refusal(error: RefusedError) -> str:
    return f"{error.detail}; {_NO_PLACE}" if error.code == ILLEGAL_ADDRESS else error.detail


def _tried(point: ProfilePoint, profile: Profile, bus: Bus, image: _Image) -> TriedPoint:
    words = image.words(point.cell) or []
    digits = 1 if point.is_bit else 4
    raw = " ".join(f"{word:0{digits}x}" for word in words)
    value = _value(point, profile, bus, image)
    wrong = image.problem(point) or _wrong(point, value, profile, bus, image)
    return TriedPoint(point, point_value(point, value), raw, wrong)


def _value(point: ProfilePoint, profile: Profile, bus: Bus, image: _Image) -> Value:
    """Return the value of one point out of what was read."""
    alone = dataclasses.replace(profile, points=(point,))
    decoder = ProfileDecoder(alone, "try", bus)
    (value,) = decoder.values([image.data(read) for read in decoder.reads])
    return value


def _wrong(point: ProfilePoint, value: Value, profile: Profile, bus: Bus, image: _Image) -> str:
    """Return what looks wrong with a value that was read; nothing if it looks right."""
    if _is_plausible(point, value):
        return ""
    found = []
    if value == OUT_OF_RANGE:
        found.append(_beyond(point, profile, bus, image))
    elif point.is_text:
        found.append("no text" if not value else "bytes that are no text in this encoding")
    elif isinstance(value, str):
        found.append(f"the device reports {value}")
    else:
        found.append("an unlikely size")
    for change, other in _others(point, profile):
        seen = _value(other, profile, bus, image)
        if _is_plausible(other, seen):
            shown = point_value(other, seen).value
            found.append(f"{change} would give {shown:g} {point.spec.unit}".rstrip())
    return "; ".join(found)


def _is_plausible(point: ProfilePoint, value: Value) -> bool:
    if value is None or isinstance(value, str):
        return isinstance(value, DeviceText) and bool(value)
    shown = point_value(point, value).value
    assert shown is not None  # a number
    spec = point.spec
    if spec.low is not None or spec.high is not None:
        # Else it would be out of range. But in a wrong order most floats are next to nothing.
        small = _SMALL if spec.high is None else min(_SMALL, abs(spec.high) * _SMALL)
        return point.raw.kind != FLOAT or shown == 0 or abs(shown) >= small
    if point.raw.kind == FLOAT:
        return shown == 0 or _SMALL <= abs(shown) < _LARGE
    if point.raw.kind == INTEGER and point.cell.words == 2 and isinstance(value, int):
        # Both words exchanged it would be small: the low one is 0, or the high one is its sign.
        return abs(value) < _WIDE_INTEGER or value % 65536 not in (0, 65535)
    return True


def _beyond(point: ProfilePoint, profile: Profile, bus: Bus, image: _Image) -> str:
    spec = msgspec.structs.replace(point.spec, low=None, high=None)
    free = make_point(spec, profile.profile)
    shown = point_value(free, _value(free, profile, bus, image)).value
    low = "" if point.spec.low is None else f"{point.spec.low:g} "
    high = "" if point.spec.high is None else f" {point.spec.high:g}"
    value = "more than 63 bits" if shown is None or not math.isfinite(shown) else f"{shown:g}"
    return f"{value} is not within {low or 'anything '}to{high or ' anything'}"


def _others(point: ProfilePoint, profile: Profile) -> Iterator[tuple[str, ProfilePoint]]:
    """Yield the point as it would be with another order of its bytes, or another sign."""
    spec, head = point.spec, profile.profile
    if point.is_bit or point.is_text or point.raw.kind not in (INTEGER, FLOAT):
        return
    own = orders_of(spec, head)
    if point.raw.size > 1:
        for letters, orders in ORDERS.items():
            same = point.raw.size == 2 and orders[1] == own[1]
            if orders != own and not same and (point.raw.size > 2 or letters in ("ABCD", "BADC")):
                yield f'order = "{letters}"', _with(spec, profile, letters, spec.type)
    signed = _SIGNED.get(spec.type)
    if signed is not None and spec.bit is None and spec.mask is None:
        letters = next(name for name, orders in ORDERS.items() if orders == own)
        yield f'type = "{signed}"', _with(spec, profile, letters, signed)


def _with(spec: PointSpec, profile: Profile, letters: str, type_name: str) -> ProfilePoint:
    changes: dict[str, object] = {"type": type_name, "invalid": ()}
    if RAW_TYPES[type_name].size > 1:
        changes |= {"order": letters, "word_order": None, "byte_order": None}
    return make_point(msgspec.structs.replace(spec, **changes), profile.profile)
