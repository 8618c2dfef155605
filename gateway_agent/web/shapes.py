"""The types of the answers below ``/api/v1``; the OpenAPI page is made of them."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from gateway_agent.status import (
    AlarmStatus,
    ConfigurationStatus,
    DeviceStatus,
    ExporterStatus,
    HealthProblem,
    NotifyStatus,
    OutboxStatus,
    Reconciliation,
    UplinkStatus,
)
from gateway_agent.tables import MAX_FILE_BYTES

from .events import ConsoleEvent, LogLine


class Overview(Struct, frozen=True, kw_only=True):
    """The gateway in short, and every device with its newest values, failing ones first."""

    gateway: str
    running_ms: int
    ok: bool  # data flows everywhere
    problems: list[HealthProblem]  # where it does not
    alarms: list[str]
    unaccounted: int  # readings that vanished without a record: 0, or the agent is wrong
    outbox: OutboxStatus | None  # None: it is not open yet
    devices: list[DeviceStatus]


class GapBand(Struct, frozen=True):
    """A time without values."""

    from_ms: int  # since 1970
    to_ms: int
    cause: str  # as in the records; "no-data" if nobody recorded it: the gateway was down


class PointSeries(Struct, frozen=True, kw_only=True):
    """One point of a device: a value per moment of the series."""

    name: str
    unit: str
    values: list[float | None]
    quality: list[str]  # why there is no value; empty if there is one


class DeviceHistory(Struct, frozen=True, kw_only=True):
    """What the gateway keeps of one device."""

    device: str
    t_ms: list[int]  # moments, since 1970
    points: list[PointSeries]
    gaps: list[GapBand]


class DeviceCost(Struct, frozen=True, kw_only=True):
    """What one device costs its bus."""

    name: str
    state: str
    period_ms: int
    poll_ms: float  # predicted time of one poll
    share: float  # predicted share of the bus's time, 0 to 1
    poll_now_ms: float  # measured in the last minute, with retries and waits; 0: it was not polled
    share_now: float
    causes: dict[str, int]  # failed polls since the start, by cause
    polls: int
    errors: int
    skipped: int


class BusReport(Struct, frozen=True, kw_only=True):
    """One bus: what its devices cost, and what went wrong."""

    name: str
    type: str
    where: str
    cycle_ms: float  # predicted time to poll every device once
    share: float  # predicted share of its time that polls take
    cycle_now_ms: float  # measured in the last minute
    share_now: float
    bytes_per_s: float  # on the line, both ways
    causes: dict[str, int]  # failed polls since the start, by cause
    warnings: list[str]
    devices: list[DeviceCost]


class FrameReport(Struct, frozen=True, kw_only=True):
    """A frame that passed on a bus; ``lost`` before it were too many to show."""

    t_ms: int  # since 1970
    kind: str  # request, answer, exception or damaged
    text: str
    data: str  # its bytes as hex digits
    lost: int = 0


class Buses(Struct, frozen=True, kw_only=True):
    """Every bus, and failed polls of all of them by cause."""

    buses: list[BusReport]
    errors: dict[str, int]


class DeliveryReport(Struct, frozen=True, kw_only=True):
    """The outbox, its uplinks and the four reconciliations."""

    outbox: OutboxStatus | None
    uplinks: list[UplinkStatus]  # to the collector
    longest_wait_ms: int | None  # age of the oldest record without a receipt; None: not known
    exporters: list[ExporterStatus]  # to other platforms
    notify: list[NotifyStatus]  # who gets notices of alarms
    reconciliation: Reconciliation | None
    waiting_for: str  # why the outbox is not open
    counters: dict[str, int | dict[str, int]]


class EventReport(Struct, frozen=True, kw_only=True):
    """What began and ended, the newest first."""

    events: list[ConsoleEvent]


class LogReport(Struct, frozen=True, kw_only=True):
    """The newest lines of the log, the newest first."""

    lines: list[LogLine]


class Configuration(Struct, frozen=True, kw_only=True):
    """The configuration in force, with every default; keys are names of files."""

    config: dict[str, object]
    state: ConfigurationStatus | None  # None: the agent was not started from a file, or just now
    text: str = ""  # as it was written, for operators


class ConfigText(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A configuration that an operator wants. ``base``: the digest of the one it was made from."""

    text: Annotated[str, Meta(max_length=MAX_FILE_BYTES)]
    base: Annotated[str, Meta(max_length=64)]


class AlarmReport(Struct, frozen=True, kw_only=True):
    """Every alarm that is not normal, the most urgent first."""

    alarms: list[AlarmStatus]


class AlarmRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an operator does about alarms. For 0 ms: no longer put aside, or worked on."""

    action: Literal["acknowledge", "shelve", "maintain"]  # maintain: ``name`` is a device
    name: Annotated[str, Meta(max_length=63)]  # empty: acknowledge all
    for_ms: Annotated[int, Meta(ge=0, le=366 * 86_400_000)] = 0


class AlarmResult(Struct, frozen=True, kw_only=True):
    """What came of it."""

    changed: int  # alarms


class LogInRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Name and password of a user."""

    name: Annotated[str, Meta(max_length=63)]
    password: Annotated[str, Meta(max_length=256)]


class SessionState(Struct, frozen=True, kw_only=True):
    """Who asks, and what they may do."""

    name: str  # empty: nobody, or somebody on this machine where nobody has to log in
    role: Literal["none", "viewer", "operator"]
    must_log_in: bool
    can_log_in: bool  # the configuration names a file of users
    token: str = ""  # has to come in the header X-Console-Token with each order


class ApiProblem(Struct, frozen=True, kw_only=True):
    """Why there is no answer."""

    error: str


def encoded(answer: Struct) -> bytes:
    """Return an answer as JSON."""
    return msgspec.json.encode(answer)
