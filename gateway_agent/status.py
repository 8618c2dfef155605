"""What a running agent reports about itself: the types behind ``tianfu-gateway status``.

The agent fills a :class:`Status`, the socket carries it as one JSON object, and every reader gets
the same :class:`Status` back. Field names are the names in the JSON; the comment beside a field
gives its meaning and its unit.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final, Literal, TypeAlias

import msgspec
from msgspec import Struct

from .counters import Counters

PIECE_POINTS: Final = 1000  # about 3 ms to take and to encode; a device counts as one more

DeviceState: TypeAlias = Literal["new", "ok", "failing", "quarantined"]


class PointValue(Struct, frozen=True, omit_defaults=True):
    """The newest value of one point of a device."""

    name: str  # of the point, as in the records
    unit: str  # SenML unit (RFC 8428, RFC 8798); empty: a plain number
    value: float | None  # in that unit; None: the device gave no valid number
    text: str = ""  # what a code stands for, or the text that the point holds
    quality: str = ""  # why there is no value, as in the records; empty if there is one


class LinkStatus(Struct, frozen=True, kw_only=True):
    """The session of a node on a link, and what its connection has counted."""

    session: bool  # there is one now
    sessions: int  # since the start of the agent
    round_trip_ms: int | None = None  # the best of the last eight; None: not measured
    frames: int = 0  # right ones that came
    resent: int = 0  # packets that we sent again
    noise_bytes: int = 0  # that were no frame
    forged: int = 0  # frames with a wrong tag or proof
    repeats: int = 0  # frames that came again, replayed or doubled on the way
    malformed: int = 0  # right frames against the definition
    refused: int = 0  # attempts to open a session that either end refused
    flooded: int = 0  # attempts beyond four a second


class DeviceStatus(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One device on a bus, as the newest polls left it."""

    id: str  # device id, as in the records
    name: str  # from the configuration
    bus: str  # name of its bus
    unit: int  # Modbus unit id
    kind: str  # "node" (one of ours) or "profile" (a third-party device)
    role: str  # role of a node, name of a profile
    auth: str  # of a node: unknown (nothing read yet), ok, bad, replayed; else none
    state: DeviceState  # quarantined: it stays silent and gets probes only
    values: list[PointValue]  # of the newest good answer; empty before the first
    age_ms: int | None  # milliseconds since that answer; None before the first
    polls: int  # since the start; on a link: samples that became records
    errors: int  # polls and repeated reads that failed, since the start
    skipped: int  # polls that fell due while the bus was busy, since the start
    problem: str  # why the newest poll failed, or nothing comes; empty if all is well
    cause: str = ""  # of the gap that is open now, as in the records; empty: none is
    link: LinkStatus | None = None  # of a node on a link
    title: str = ""  # what people call it, in any language; with place and note
    place: str = ""
    note: str = ""


class BusDeviceStatus(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one device costs its bus, in the last minute and as it is predicted."""

    name: str  # from the configuration
    poll_ms: float  # of one poll, with retries and waits; 0: it was not polled
    predicted_ms: float
    share: float  # of the bus's time
    predicted_share: float
    errors: dict[str, int] = {}  # polls that failed since the start, by cause


class BusStatus(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How one polled bus is used: measured in the last minute, and as it is predicted."""

    name: str  # from the configuration
    share: float  # of its time in which something was asked, 0 to 1
    predicted_share: float
    cycle_ms: float  # to poll every device once
    predicted_cycle_ms: float
    bytes_per_s: float  # on the line, both ways
    line_share: float  # of the time that these take at its speed; 0 on TCP
    errors: dict[str, int] = {}  # polls that failed since the start, by cause
    devices: list[BusDeviceStatus] = []  # of `agent.buses()` only


class OutboxStatus(Struct, frozen=True, kw_only=True):
    """The store of records that wait for a receipt."""

    stream: int  # id of the stream (the hash chain) in use
    last: int  # sequence number of the newest record
    receipted_to: int  # every record up to this sequence number has a receipt
    depth: int  # records that wait for a receipt
    file_bytes: int  # bytes allocated on the medium
    max_bytes: int  # limit of file_bytes
    full: str  # why no record can be committed now; empty if it can
    head: str = ""  # hash of the chain with the newest record, in hex


class UplinkStatus(Struct, frozen=True, kw_only=True):
    """The connection to the collector."""

    broker: str  # host:port
    connected: bool  # to the broker
    problem: str  # why it is not connected; empty if it is
    receipt: str  # what counts as delivered: "signed" receipt or the broker's "puback"
    receipt_problem: str = ""  # why the newest receipt was rejected; empty if it was not
    waiting_ms: int = 0  # for how long what was sent has had no new receipt; 0: all has one
    receipt_ms: int = 0  # of the newest receipt, by the collector's clock; 0: none since the start
    unheard: bool = False  # nobody is subscribed to our batches, says the broker (MQTT 5)


class HealthProblem(Struct, frozen=True, kw_only=True):
    """One place where data stops."""

    stage: str  # "polls", "commits" or "receipts"
    what: str  # bus/device, bus, "outbox", or the uplink
    for_ms: int  # milliseconds without progress
    text: str  # why, and what to do
    own: bool  # a part of the agent hangs: a restart may help


class LossStatus(Struct, frozen=True):
    """Records that an exporter will never send."""

    stream: int
    first: int
    last: int
    cause: str  # a word of gateway_agent.store.exports.LOSS_CAUSES


class GapStatus(Struct, frozen=True, kw_only=True):
    """What an exporter made of records, or would have, and gave up for one cause."""

    kind: str  # a CN, "2051 change" for a late one, "picture", the code of a value, or "state"
    first_ms: int  # Unix time at which the first began, and at which the last ended
    last_ms: int
    count: int
    cause: str  # a constant of gateway_agent.uplink.gap_book


class ExporterStatus(Struct, kw_only=True, omit_defaults=True):
    """An uplink beside the collector's."""

    name: str  # of the [[uplink]] table
    type: str
    where: str  # host:port, or a folder
    required: bool  # records stay in the outbox until it has them
    connected: bool = False
    problem: str = ""  # why it is not connected, or nothing is sent; empty if all is well
    delivered_to: int = 0  # the platform has every record up to this one, or it is lost
    behind: int = 0  # records that it lacks
    messages: int = 0  # sent since the start, and their bytes
    bytes: int = 0
    rejected: int = 0  # messages of the platform that were wrong, and why the newest was
    rejection: str = ""
    lost: int = 0  # records that it will never get, at all times
    losses: list[LossStatus] = []  # the newest ranges of them
    gaps: list[GapStatus] = []  # periods, pictures and values that it will never get


class AlarmStatus(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One alarm that is not normal, in the states of ISA-18.2."""

    name: str  # from the configuration
    severity: str  # note, warning or urgent
    # unacknowledged, acknowledged, returned (before anybody saw it), shelved; out-of-service: a
    # device (``about``) that somebody works on
    state: str
    about: str  # the device, or "gateway"
    for_ms: int  # milliseconds in this state
    text: str = ""  # from the configuration: what to do


class NotifyStatus(Struct, kw_only=True, omit_defaults=True):
    """A receiver of notices about alarms."""

    name: str  # of the [[notify]] table
    type: str
    where: str  # host:port, or an address
    problem: str = ""  # why the newest notice was not delivered; empty if all is well
    waiting: int = 0  # notices that it lacks
    sent: int = 0  # since the start
    lost: int = 0  # notices that it will never get, since the start


class Reconciliation(Struct, frozen=True, kw_only=True):
    """What four comparisons cannot account for, since the start; 0 unless the agent is wrong.

    Each compares two figures that are counted at different places.
    """

    unaccounted: int  # the sum of the four
    sequence: int  # samples of nodes that are in no record and in no gap
    schedule: int  # polls that fell due and are neither answered nor missed for a cause
    receipts: int  # records that are in the outbox no more and were not receipted
    archive: int  # receipts that do not fit the chain of the outbox


class NodeUpdateStatus(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far one node is with an update."""

    name: str  # from the configuration
    phase: str  # waiting, asking, beginning, erasing, receiving, restarting, trial, done, failed
    blocks: int = 0  # of the image
    missing: int = 0  # of these
    problem: str = ""  # why it failed, and what to do


class RolloutStatus(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The update of nodes that is under way, or was the last one."""

    version: int  # that the nodes get
    nodes: list[NodeUpdateStatus]  # in the order in which they are updated
    ended: str = ""  # how it ended; empty while it has not
    bus_ms: int = 0  # of bus time that the group under way has taken
    hindrance: str = ""  # why nothing can be sent, and what to do; empty if it can


class ConfigurationStatus(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which configuration the agent works with."""

    digest: str  # SHA-256 of its text
    origin: str  # the file or the order that it is from
    by: str = ""  # who changed it, since the start
    probation_ms: int = 0  # that are left until it has proved itself; 0: it has
    outcome: str = ""  # of the newest reload, and what to do; empty if there was none


class Status(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The whole agent at one moment. A field at its default is left out of the JSON."""

    gateway: str  # id of the gateway
    running_ms: int  # milliseconds since the agent was made
    nodes: list[DeviceStatus]  # every device, in the order of the configuration
    counters: Counters  # since the start of the process
    reconciliation: Reconciliation | None = None  # None: the outbox is not open yet
    outbox: OutboxStatus | None = None  # None: it is not open yet
    uplink: UplinkStatus | None = None  # None: it is not started yet
    uplinks: list[ExporterStatus] = []  # those beside the collector's
    alarms: list[str] = []  # what an operator must learn of, since the start of the process
    alarm_summary: list[AlarmStatus] = []  # of [[alarm]], the most urgent first
    notify: list[NotifyStatus] = []  # who gets notices of alarms

    buses: list[BusStatus] = []  # polled ones, the busiest 32
    configuration: ConfigurationStatus | None = None  # None: the agent was made without a file
    update: RolloutStatus | None = None  # None: no update of nodes was ordered
    health: list[HealthProblem] = []  # where data stops now; empty: it flows everywhere
    warnings: list[HealthProblem] = []  # uplinks with required = false that get nothing now
    waiting_for: str = ""  # why the outbox cannot be opened; empty if it can or is


def to_json(status: Struct) -> str:
    """Return ``status`` as one line of JSON."""
    return json.dumps(msgspec.to_builtins(status))


def in_pieces(status: Status, devices: Iterable[DeviceStatus]) -> Iterator[str]:
    """Yield what :func:`to_json` returns for ``status``, which has no nodes, with ``devices``.

    For each piece at most ``PIECE_POINTS`` points and one device are taken.
    """
    head, nodes, rest = to_json(status).partition('"nodes": [')  # a quote in a text is escaped
    text, points, between = [head, nodes], 0, ""
    for device in devices:
        text += between, to_json(device)
        between = ", "
        points += 1 + len(device.values)
        if points >= PIECE_POINTS:
            yield "".join(text)
            text, points = [], 0
    yield "".join((*text, rest))


def from_json(data: bytes) -> Status:
    """Read what :func:`to_json` wrote; fields that are not known here are ignored.

    msgspec.DecodeError: ``data`` is no JSON, or no status.
    """
    return msgspec.json.decode(data, type=Status, dec_hook=_table)


def _table(_: object, value: object) -> Counter[str]:
    """Read a counter by cause, the only type here that msgspec has no rule for."""
    return Counter(msgspec.convert(value, dict[str, int]))
