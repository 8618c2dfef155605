"""The values of a record, for its writer and its reader alike.

A record is what one poll of one device gave (or the fact that it gave nothing), as SenML maps in
deterministic CBOR, concatenated without an array around them: a batch's pack is an array head and
the stored bytes of its records. The layout, byte by byte, is in ``docs/formats.md``.
"""

from typing import Final, NamedTuple

from msgspec import Struct

from protocols.wire.register_names import QUALITY_NAMES

# Kinds: the first element of a record's "tf" array.
PROFILE: Final = 0  # a third-party device read through a profile; no proof of the values
SAMPLE: Final = 1  # a node's sample frame, with the frame as proof
EVENTS: Final = 2  # a node's event frame, with the frame as proof
GAP: Final = 3  # readings that are missing, and why
FILE: Final = 5  # a part of a file that a node handed over, as its last picture
ACTION: Final = 6  # what the gateway or an operator did, as a step of an update
# 4 is never used: the vectors have it as a kind that nobody knows.
KIND_NAMES: Final = ("profile", "sample", "events", "gap", "unused", "file", "action")

FILES: Final = ("picture", "log", "fault")  # what a node hands over
MAX_FILE_BYTES: Final = 1 << 20
MAX_PART_BYTES: Final = 8192  # of one record

# Where wall time came from, rising in trust.
CLOCK_NONE: Final = 0  # nothing has vouched for the clock in this boot
CLOCK_HOLDOVER: Final = 1  # was synchronised in this boot, is free running now
CLOCK_SERVER: Final = 2  # from a receipt's server time, known to within the round trip
CLOCK_SYNCHRONISED: Final = 3  # disciplined by NTP, PTP or GNSS
CLOCK_NAMES: Final = ("none", "holdover", "server", "synchronised")

CAUSES: Final = (
    "bus_timeout",
    "crc",
    "node_reset",
    "node_overrun",
    "bad_tag",
    "wrong_unit",
    "gateway_down",
    "outbox_full",
    "outbox_damaged",
    "db_truncated",
    "key_unknown",
    "operator",
    "exception",
    "bad_frame",
    "replayed",
    "bus_busy",
    "device_busy",
    "node_update",
    "node_replaced",
)

# What the gateway or an operator did; what is there stays, for old records.
ACTIONS: Final = (
    "update-ordered",  # accepted from an operator
    "update-resumed",  # goes on after a restart of the gateway
    "update-group",  # the canaries, or a group after them, are begun
    "update-confirmed",  # of a node: it runs the new version, which it keeps
    "update-failed",  # of a node
    "update-passed",  # all nodes of the group are confirmed
    "update-done",
    "update-stopped",  # at the first failure, or because it cannot go on
    "update-cancelled",  # by an operator
    "alarm-active",  # of [[alarm]]: its condition holds
    "alarm-normal",  # it holds no more
    "alarm-acknowledged",  # by an operator
    "alarm-shelved",  # put aside by an operator for a time
    "alarm-unshelved",  # the time is over, or an operator took it back
    "maintenance",  # somebody works on a device: its silence is expected
    "maintenance-over",  # the time is over, or somebody said so
    "alarm-notice-lost",  # notices of alarms that a receiver will never get
    "calibration",  # of a node's point, by a technician; ``arg`` is the point
    "command-taken",  # of a person or platform, before anything is sent
    "command-done",  # and read back, if it was a write
    "command-refused",  # nothing was sent
    "command-failed",  # it may be done or not
    "order-rejected",  # not proved, not for here and now, or not new; ``arg``: since the start
    "config-in-force",  # at a start, and when a change has proved itself; with its SHA-256
    "config-on-probation",  # by an operator: it is undone if what worked falls silent
    "config-undone",  # what was in force before it is so again
    "config-refused",  # nothing was changed
)
MAX_OPERATOR_LENGTH: Final = 64  # characters of who did it
MAX_ACTION_DETAIL: Final = 500

# Why a point has no value: what a node may report of it, and what a third-party device may.
POINT_BUSY: Final = "busy"  # it refused the read for the moment (exception 05 or 06)
NO_VALUE: Final = "no-value"  # it returned the code that stands for "no value"
POINT_QUALITIES: Final = (*QUALITY_NAMES[1:], POINT_BUSY, NO_VALUE)

# RFC 8428 section 4.5.3: a time below 2**28 s means "so long before now", so an absolute one is at
# least this. The upper bound (year 10889) keeps milliseconds exact in a double of seconds.
MIN_WALL_MS: Final = (1 << 28) * 1000
MAX_WALL_MS: Final = (1 << 48) - 1

MAX_EXP10: Final = 9  # a value is raw * 10**exp10, exp10 from -9 to 9
MAX_RECORD_BYTES: Final = 64 * 1024
MAX_FRAME_BYTES: Final = 250  # 125 registers
MAX_DETAIL_LENGTH: Final = 200  # characters of a gap's detail
MAX_GAP_NUMBER: Final = 0xFFFFFFFF  # of the first and the last sample that a gap names

# SenML names below a device that are not points.
STATUS_NAME: Final = "status"
EVENT_NAME: Final = "event"
GAP_NAME: Final = "gap"
FILE_NAME: Final = "file"
ACTION_NAME: Final = "action"
QUALITY_SUFFIX: Final = "/q"

EXTENSION: Final = "tf"  # our label in SenML maps and COSE headers


class Stamp(NamedTuple):
    """When a device was asked and when it had answered.

    ``req_ms``, ``resp_ms``: CLOCK_BOOTTIME of the gateway in ms, of the request's first and the
    response's last byte. ``wall_ms``: Unix time of the response in ms, None exactly when
    ``clock_state`` is CLOCK_NONE. ``unc_ms``: how far wall time may be off.
    """

    req_ms: int
    resp_ms: int
    wall_ms: int | None
    unc_ms: int
    clock_state: int


class Gap(Struct, frozen=True):
    """Readings ``first`` to ``last`` (inclusive, sample sequence numbers) are missing.

    ``boot_epoch``, ``first`` and ``last`` are None where they cannot be known (a third-party
    device has no sequence numbers); ``cause`` is one of CAUSES; ``detail`` is for people, at most
    200 characters.

    ``slots`` polls that the configured period promised brought nothing, the first of them due at
    ``from_ms`` and the last at ``to_ms`` (ms since the gateway's boot, below 0 before it). They are
    None where they are not known, all three in a gap that is not about polls.
    """

    cause: str
    boot_epoch: int | None
    first: int | None
    last: int | None
    detail: str
    slots: int | None = None
    from_ms: int | None = None
    to_ms: int | None = None


class FilePart(Struct, frozen=True):
    """A part of a file of a node, which the gateway has had whole, with this SHA-256.

    ``file`` is one of FILES. ``boot_epoch`` and ``number`` are the node's: of a picture the number
    that its event ``image-sent`` has as ``arg``.
    """

    file: str
    boot_epoch: int
    number: int
    sha256: bytes
    size: int
    offset: int
    data: bytes


class Action(Struct, frozen=True):
    """What the gateway or an operator did, about the device of the record.

    ``name`` is one of ACTIONS. ``operator`` is who did it, "" for the gateway itself. ``arg`` is
    the number that it is about: of an update the version. ``detail`` is for people.
    """

    name: str
    operator: str
    arg: int
    detail: str


class Record(NamedTuple):
    """The unit of the outbox.

    ``data``: SenML maps in deterministic CBOR, one after the other, ``maps`` of them.
    ``readings``: how many of them are valid points. ``kind``: see KIND_NAMES.
    """

    data: bytes
    readings: int
    kind: int
    maps: int


class DecimalFraction(NamedTuple):
    """A number with a power of ten of its own: ``raw * 10**exp10``, exp10 from -9 to 9."""

    raw: int
    exp10: int


class Value(NamedTuple):
    """One reading. ``unit`` is "" where SenML has none registered."""

    name: str
    unit: str
    value: int | float


class RecordPoint(NamedTuple):
    """What is said about a reading beside its number: the reading is ``number / divisor``.

    ``divisor`` is a power of ten up to 10**MAX_EXP10; ``unit`` is "" where SenML has none.
    """

    name: str
    unit: str
    divisor: int


class Failure(NamedTuple):
    """A point without a reading; ``quality`` is the reason (``timeout``, ``out-of-range`` ...)."""

    name: str
    quality: str


class NodeEvent(NamedTuple):
    """One event: ``number`` counts from 1 at the node's boot, ``offset_ms`` is against bt."""

    number: int
    name: str
    arg: int
    offset_ms: int


class Decoded(NamedTuple):
    """A record, read; its kind decides which of the fields from ``points`` on are filled.

    ``points`` and ``numbers`` belong together, one by one; records of one shape may share their
    ``points``.
    """

    device_id: str
    kind: int
    stamp: Stamp
    status: int
    points: tuple[RecordPoint, ...]
    numbers: tuple[int | float, ...]
    failures: tuple[Failure, ...]
    events: tuple[NodeEvent, ...]
    frame: bytes | None
    gap: Gap | None
    maps: int
    part: FilePart | None = None
    action: Action | None = None

    @property
    def readings(self) -> int:
        """Return how many valid points it holds."""
        return len(self.numbers)

    @property
    def values(self) -> tuple[Value, ...]:
        """Return its readings, each made of its point and its number."""
        return tuple(
            Value(name, unit, number if divisor == 1 else number / divisor)
            for (name, unit, divisor), number in zip(self.points, self.numbers, strict=True)
        )
