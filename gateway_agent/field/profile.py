"""Describes third-party devices by TOML files: what each register means, and how to read it.

A profile is data, never code. Nothing proves the values of such devices (``auth`` none).
"""

import math
import struct
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta, Struct

from gateway_agent.config import Bus
from gateway_agent.tables import ConfigError, Problem, TableReader, read_toml
from protocols.modbus_client import Read
from protocols.uplink import ProfileTemplate, Record, Stamp
from protocols.wire.errors import LocalError
from protocols.wire.modbus.pdu import MAX_READ, READ_HOLDING, READ_INPUT
from protocols.wire.registers import FAULT, QUALITY_NAMES, RANGE

from .planner import Span, coalesce

FUNCTIONS: Final = {"holding": READ_HOLDING, "input": READ_INPUT}
WORDS: Final = {"u16": 1, "i16": 1, "u32": 2, "i32": 2, "f32": 2}
MAX_POINTS: Final = 500

# Why a point has no value, as it stands in the record.
REPORTS_FAULT: Final = QUALITY_NAMES[FAULT]
OUT_OF_RANGE: Final = QUALITY_NAMES[RANGE]

# A raw integer (scaled by its exponent), a float as it is, a quality's name, or None: no answer.
Value: TypeAlias = int | float | str | None


class PointSpec(Struct, frozen=True, kw_only=True):
    """One value of the device, and the registers that hold it."""

    name: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9][A-Za-z0-9:._\-]{0,63}$",
            description="a SenML name: 1 to 64 of A-Za-z0-9-:._, a letter or digit first",
            examples=["co2"],
        ),
    ]
    # Counted from 0, as in the request.
    register: Annotated[
        int, Meta(ge=0, le=65535, description="a register from 0 to 65535", examples=[3])
    ]
    type: Literal["u16", "i16", "u32", "i32", "f32"]
    table: Literal["holding", "input"] = "holding"
    unit: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9%/]{0,16}$",
            description='a SenML unit (RFC 8428, RFC 8798) or ""',
            examples=["Cel"],
        ),
    ] = ""
    word_order: Literal["big", "little"] = "big"
    exp10: Annotated[
        int, Meta(ge=-9, le=9, description="a power of ten from -9 to 9", examples=[-1])
    ] = 0
    # Limits of the scaled value; a value beyond is recorded as out-of-range.
    low: float | None = None
    high: float | None = None
    # Raw register values by which the device reports that it has no value; recorded as fault.
    invalid: tuple[int, ...] = ()
    what: str = ""


class ProfileHead(Struct, frozen=True, kw_only=True):
    """What the profile is for, and the document its registers are taken from."""

    name: Annotated[
        str,
        Meta(
            pattern=r"^[a-z0-9][a-z0-9\-]{0,62}$",
            description="lower-case letters, digits and '-'",
            examples=["senseair-s8"],
        ),
    ]
    title: str
    source: Annotated[
        str,
        Meta(min_length=1, description="the document it is taken from", examples=["manual, 5.3"]),
    ]
    example: bool = False
    max_words: Annotated[
        int,
        Meta(
            ge=2,
            le=MAX_READ,
            description=f"registers per request, 2 to {MAX_READ}",
            examples=[MAX_READ],
        ),
    ] = MAX_READ


class Profile(Struct, frozen=True, kw_only=True):
    """A whole profile file."""

    profile: ProfileHead
    point: tuple[PointSpec, ...]

    def spans(self) -> list[Span]:
        """Return the registers of each point."""
        return [
            Span(FUNCTIONS[point.table], point.register, WORDS[point.type]) for point in self.point
        ]

    def reads(self, gap_words: int) -> tuple[Read, ...]:
        """Return the requests that cover all points."""
        return coalesce(self.spans(), gap_words, self.profile.max_words)


def shipped() -> list[str]:
    """Return the names of the profiles that come with the gateway."""
    folder = resources.files(__package__) / "profiles"
    return sorted(item.name[:-5] for item in folder.iterdir() if item.name.endswith(".toml"))


def find_profile(name: str) -> Path:
    """Return the file of a profile: a shipped one, or the ``.toml`` file that is named."""
    if name.endswith(".toml"):
        return Path(name).absolute()
    return Path(str(resources.files(__package__) / "profiles" / f"{name}.toml"))


def load_profile(name: str) -> Profile:
    """Read and check a profile. ConfigError with every problem."""
    path = find_profile(name)
    if not name.endswith(".toml") and name not in shipped():
        raise ConfigError(
            [
                Problem(
                    str(path),
                    "",
                    f'"{name}"',
                    "one of " + ", ".join(shipped()),
                    "name one of them, or a .toml file of your own",
                )
            ]
        )
    reader = TableReader(path)
    built = reader.build(Profile, read_toml(path), "")
    names = ((f"{key}.name", point.name) for key, point in reader.built_of(PointSpec))
    reader.unique(names, "a name no other point has")
    for key, point in reader.built_of(PointSpec):
        _check_point(reader, key, point)
    if built is not None and not 1 <= len(built.point) <= MAX_POINTS:
        reader.problem(
            "point", len(built.point), f"1 to {MAX_POINTS} points", "add [[point]] tables"
        )
    profile = reader.result(built)
    try:
        # The record format has rules of its own (reserved names, length of a record).
        template_of(profile, "check")
    except LocalError as error:
        raise ConfigError(
            [Problem(str(path), "point", str(error.got), str(error.expected), error.message)]
        ) from error
    return profile


def template_of(profile: Profile, device_id: str) -> ProfileTemplate:
    """Return the record writer of one device with this profile."""
    # A float is its value already; the exponent was applied when it was read.
    return ProfileTemplate(
        device_id,
        [(item.name, item.unit, 0 if item.type == "f32" else item.exp10) for item in profile.point],
    )


def _check_point(reader: TableReader, key: str, point: PointSpec) -> None:
    if point.register + WORDS[point.type] > 65536:
        reader.problem(
            f"{key}.register", point.register, "both registers within 65535", "correct register"
        )
    if point.low is not None and point.high is not None and point.low > point.high:
        reader.problem(
            f"{key}.high", point.high, f"at least low = {point.low}", "exchange low and high"
        )


class _Field:
    """Takes the value of one point out of the words of its block."""

    __slots__ = ("block", "format", "high", "index", "invalid", "little", "low", "scale", "wide")

    def __init__(self, point: PointSpec, block: int, index: int) -> None:
        self.block = block
        self.index = index
        self.wide = WORDS[point.type] == 2
        self.little = point.word_order == "little"
        self.format = {"u16": "", "u32": "", "i16": ">h", "i32": ">i", "f32": ">f"}[point.type]
        self.invalid = frozenset(point.invalid)
        self.scale = point.exp10 if point.type == "f32" else 0
        # Bounds of the scaled value, brought to the raw one once.
        factor = 1.0 if point.type == "f32" else 10.0**point.exp10
        self.low = -math.inf if point.low is None else point.low / factor
        self.high = math.inf if point.high is None else point.high / factor

    def value(self, words: tuple[int, ...]) -> int | float | str:
        """Return the raw integer or the float; the name of a quality if there is no value."""
        raw: int | float = words[self.index]
        if self.wide:
            other = words[self.index + 1]
            raw = (other << 16 | int(raw)) if self.little else (int(raw) << 16 | other)
        if raw in self.invalid:
            return REPORTS_FAULT
        if self.format:
            size = 4 if self.wide else 2
            (raw,) = struct.unpack(self.format, int(raw).to_bytes(size, "big"))
            if self.scale:
                raw = raw * 10.0**self.scale
        if not math.isfinite(raw):
            return REPORTS_FAULT
        return raw if self.low <= raw <= self.high else OUT_OF_RANGE


class ProfileDecoder:
    """Turns the answers of one device into a record. ``reads[i]`` is the request of block i."""

    def __init__(self, profile: Profile, device_id: str, bus: Bus) -> None:
        self.profile = profile
        self.reads = profile.reads(bus.gap_words)
        self._template = template_of(profile, device_id)
        self._formats = [struct.Struct(f">{read.words}H") for read in self.reads]
        self._fields = [self._place(point) for point in profile.point]
        # The common case costs one unpack: one block of plain u16 in the order of the points.
        self._plain = (
            len(self.reads) == 1
            and self.reads[0].words == len(profile.point)
            and all(
                point.type == "u16"
                and point.low is None
                and point.high is None
                and not point.invalid
                and field.index == position
                for position, (point, field) in enumerate(
                    zip(profile.point, self._fields, strict=True)
                )
            )
        )

    def _place(self, point: PointSpec) -> _Field:
        function, words = FUNCTIONS[point.table], WORDS[point.type]
        for block, read in enumerate(self.reads):
            start = point.register - read.address
            if read.function == function and start >= 0 and start + words <= read.words:
                return _Field(point, block, start)
        raise AssertionError(f"no read covers {point.name}")  # coalesce covers every span

    def values(self, answers: Sequence[bytes | str | None]) -> tuple[Value, ...]:
        """Return one value per point.

        An answer is the data of a block, None if none came, or the name of the quality that all
        points of the block get.
        """
        first = answers[0]
        if self._plain and isinstance(first, bytes):
            return self._formats[0].unpack(first)
        words = [
            layout.unpack(data) if isinstance(data, bytes) else data
            for layout, data in zip(self._formats, answers, strict=True)
        ]
        result: list[Value] = []
        for field in self._fields:
            block = words[field.block]
            result.append(field.value(block) if isinstance(block, tuple) else block)
        return tuple(result)

    def record(self, values: tuple[Value, ...], stamp: Stamp) -> Record:
        """Return the record of one poll."""
        return self._template.record(values, stamp)
