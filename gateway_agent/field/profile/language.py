"""The language of profiles: every key that a profile file may have, as typed tables.

A profile is data, never code. Rules about one key stand beside it; rules about several keys are in
:mod:`.rules`, the types of values in :mod:`.raw_types`. ``docs/profiles.md`` shows each construct
with an example that the tests run.
"""

from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta, Struct, field

from gateway_agent.config_types import Period, count
from gateway_agent.table_types import REMEDY
from protocols.modbus_client import READ_COILS, READ_DISCRETE
from protocols.wire.modbus.pdu import MAX_READ, READ_HOLDING, READ_INPUT

from .raw_types import TypeName

Table: TypeAlias = Literal["holding", "input", "coil", "discrete"]
Order: TypeAlias = Literal["big", "little"]
Letters: TypeAlias = Literal["ABCD", "DCBA", "BADC", "CDAB"]

FUNCTIONS: Final[dict[str, int]] = {
    "holding": READ_HOLDING,
    "input": READ_INPUT,
    "coil": READ_COILS,
    "discrete": READ_DISCRETE,
}
BIT_TABLES: Final = ("coil", "discrete")
MAX_POINTS: Final = 500

# What `order` writes in four letters: the order of words, and of the bytes in each word.
ORDERS: Final[dict[str, tuple[Order, Order]]] = {
    "ABCD": ("big", "big"),
    "CDAB": ("little", "big"),
    "BADC": ("big", "little"),
    "DCBA": ("little", "little"),
}

Register: TypeAlias = Annotated[
    int,
    Meta(
        ge=0,
        le=65536,
        description="a register from 0 to 65535",
        extra={
            REMEDY: (
                "write the number of the request: what a manual calls 40001 or 400001 is"
                ' table = "holding" and register = 0, 30001 is table = "input" and register = 0;'
                " base = 1 under [profile] counts from one"
            )
        },
    ),
]
# A number, or bits in text: "0x8000", or "0x8000&0xC000" where only the bits of the mask count.
Code: TypeAlias = int | float | str
Codes: TypeAlias = Annotated[
    tuple[Code, ...],
    Meta(
        description='an array of numbers, or of bits such as "0x8000" or "0x8000&0xC000"',
        examples=[[-32768, "0x7FC00000"]],
    ),
]
Number: TypeAlias = Annotated[int | float, Meta(description="a number", examples=[0.1])]
Names: TypeAlias = Annotated[
    dict[str, str],
    Meta(description="a table of numbers and words", extra={REMEDY: 'write { 0 = "off" }'}),
]


class StatusSpec(Struct, frozen=True, kw_only=True):
    """A register that holds how good the point's value is, and what its codes mean.

    With ``ok`` every code that is in no list is a fault; without it such a code is good.
    """

    register: Register
    ok: Codes = ()
    fault: Codes = ()
    out_of_range: Codes = ()
    warm_up: Codes = ()
    not_fitted: Codes = ()


class WriteSpec(Struct, frozen=True, kw_only=True):
    """That and how a point may be written (`tianfu-gateway set`).

    ``low`` and ``high`` bound what is written, in the point's unit. ``step``: only multiples of it
    above ``low``. ``confirm``: a person has to confirm each write. ``by``: the function, else 05
    for a coil, 06 for one register, 10 for several, 16 for bits of a register.
    """

    low: Number | None = None
    high: Number | None = None
    step: Number | None = None
    confirm: bool = False
    by: Literal["05", "06", "0F", "10", "16", "17"] | None = None


class PointSpec(Struct, frozen=True, kw_only=True):
    """One value of the device, and the registers that hold it."""

    name: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9][A-Za-z0-9:._\-]{0,63}\Z",
            description="a SenML name: 1 to 64 of A-Za-z0-9-:._, a letter or digit first",
            examples=["co2"],
        ),
    ]
    # As in the request, counted from 0; from 1 with `base = 1`.
    register: Register
    type: TypeName
    # None: what the profile has.
    table: Table | None = None
    unit: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9%/]{0,16}\Z",
            description='a SenML unit (RFC 8428, RFC 8798) or ""',
            examples=["Cel"],
        ),
    ] = ""
    # The order of words and of bytes in a word, in letters or one by one; None: the profile's.
    order: Letters | None = None
    word_order: Order | None = None
    byte_order: Order | None = None
    # Of a register that holds two values of 8 bits.
    half: Literal["low", "high"] = "low"
    # The length of a string in registers, and how its bytes are read.
    words: Annotated[int, count(1, MAX_READ, 8)] | None = None
    encoding: Literal["ascii", "utf-8", "gb18030"] = "ascii"
    # Part of a register: one bit, or the bits of a mask, shifted right (to the mask's lowest bit).
    bit: Annotated[int, count(0, 63, 3)] | None = None
    mask: Annotated[int, Meta(ge=1, description="a mask", examples=[240])] | None = None
    shift: Annotated[int, count(0, 63, 4)] | None = None
    # value = raw * scale * 10**exp10 + offset, computed exactly.
    scale: Number = 1
    exp10: Annotated[
        int, Meta(ge=-9, le=9, description="a power of ten from -9 to 9", examples=[-1])
    ] = 0
    offset: Number = 0
    # A register (i16) with the power of ten that the device scales by, as SunSpec has it.
    scale_register: Register | None = None
    # RawLimits of the scaled value; a value beyond is recorded as out-of-range.
    low: Number | None = None
    high: Number | None = None
    # What the device sends where it has no value, before scaling; recorded as no-value.
    invalid: Codes = ()
    status: StatusSpec | None = None
    # Words for codes, and names of single bits, for people; records hold the number.
    values: Names = field(default_factory=dict)
    bits: Names = field(default_factory=dict)
    # What the clock of the device is ahead of UTC, in minutes.
    utc_offset_min: Annotated[
        int,
        Meta(
            ge=-1440,
            le=1440,
            multiple_of=15,
            description="minutes from -1440 to 1440, a multiple of 15",
            examples=[480],
        ),
    ] = 0
    # The group whose period the point has; empty: the device's.
    group: str = ""
    # Read with a request of its own, because the device answers it so only.
    never_join: bool = False
    what: str = ""
    # That it may be written, and within which bounds; without it never.
    write: WriteSpec | None = None


class GroupSpec(Struct, frozen=True, kw_only=True):
    """Points that are read with a period of their own."""

    name: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,62}\Z",
            description="letters, digits, '-', '_' or '.'",
            examples=["slow"],
        ),
    ]
    period_ms: Period


class ProfileHead(Struct, frozen=True, kw_only=True):
    """What the profile is for, the document it is taken from, and what all its points share."""

    name: Annotated[
        str,
        Meta(
            pattern=r"^[a-z0-9][a-z0-9\-]{0,62}\Z",
            description="lower-case letters, digits and '-'",
            examples=["senseair-s8"],
        ),
    ]
    title: str
    source: Annotated[
        str,
        Meta(min_length=1, description="the document it is taken from", examples=["manual, 5.3"]),
    ]
    # Who read which device with it, and when; empty: taken from the manual, tried on none.
    tried: str = ""
    # An illustration rather than a device to rely on.
    example: bool = False
    # 1 where the manual counts registers from one.
    base: Literal[0, 1] = 0
    table: Table = "holding"
    order: Letters | None = None
    word_order: Order | None = None
    byte_order: Order | None = None
    max_words: Annotated[
        int,
        Meta(
            ge=1,
            le=MAX_READ,
            description=f"registers per request, 1 to {MAX_READ}",
            examples=[MAX_READ],
        ),
    ] = MAX_READ
    # Registers between two wanted ones that are read along; None: what the bus has.
    gap_words: Annotated[int, count(0, MAX_READ - 2, 8)] | None = None
    # Every point with a request of its own.
    never_join: bool = False
    # The profile that this one changes and adds to, and the points of it that this device lacks.
    extends: Annotated[
        str,
        Meta(
            pattern=r"^\Z|\.toml\Z|^[a-z0-9][a-z0-9-]*\Z",
            description="the name of a shipped profile or the name of a .toml file",
            examples=["eastron-sdm630"],
        ),
    ] = ""
    remove: tuple[str, ...] = ()
