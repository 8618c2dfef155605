"""What exporters to other platforms are given: a record with its place, its time and its names.

It is made from the very record that the collector gets, so that no platform sees a value that the
collector would not: a point without a valid reading has no value here either, and its quality.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from protocols.uplink import PROFILE, SAMPLE, Anchor, Decoded, Gap


class DeviceInfo(NamedTuple):
    """A device by its configuration; ``role`` is a node's role or the name of a profile.

    ``title``, ``place`` and ``note`` are what people call it, in any language. ``point_ms`` has the
    periods of points that are read at another one than the device's, by name.
    """

    id: str
    name: str
    bus: str
    role: str
    period_ms: int
    title: str = ""
    place: str = ""
    note: str = ""
    point_ms: Mapping[str, int] = MappingProxyType({})

    def period_of(self, point: str) -> int:
        """Return the milliseconds between two readings of a point."""
        return self.point_ms.get(point, self.period_ms)


class ExportPoint(NamedTuple):
    """One point; ``value`` is None where ``quality`` gives the reason, in SenML ``unit`` else."""

    name: str
    unit: str
    value: int | float | None
    quality: str


class ExportRecord(NamedTuple):
    """Record ``seq`` of the stream; ``wall_ms`` is Unix time give or take ``unc_ms``.

    ``boot_id``: of the gateway when it was made; its stamp's boot times are of that boot.
    """

    seq: int
    device: str
    name: str
    role: str
    wall_ms: int
    unc_ms: int
    points: tuple[ExportPoint, ...]
    gap: Gap | None
    record: Decoded
    boot_id: bytes = b""

    @property
    def is_data(self) -> bool:
        """Return whether it is a poll that gave readings or reasons why there are none."""
        return self.record.kind in (SAMPLE, PROFILE)


class Portion(NamedTuple):
    """Records ``first`` to ``last`` of ``stream``; ``is_newest``: there were no more."""

    stream: int
    first: int
    last: int
    records: tuple[ExportRecord, ...]
    is_newest: bool


class SentMessage(NamedTuple):
    """One message to a platform: its id there, the records in it, and the platform's answer.

    ``text`` says for people what it was: a topic, a file, a command.
    """

    message: str
    seqs: tuple[int, ...]
    ack: str
    text: str = ""


def wall_of(decoded: Decoded, anchor: Anchor) -> tuple[int, int] | None:
    """Return the Unix time of a record in ms and its uncertainty; None if nothing vouches for it.

    A record without a time of its own gets that of the anchor of its boot.
    """
    stamp = decoded.stamp
    if stamp.wall_ms is not None:
        return stamp.wall_ms, stamp.unc_ms
    if anchor.wall_ms is None:
        return None
    return anchor.wall_ms + stamp.resp_ms - anchor.mono_ms, anchor.unc_ms


def export_record(
    seq: int, decoded: Decoded, wall: tuple[int, int], device: DeviceInfo, boot_id: bytes = b""
) -> ExportRecord:
    """Return what exporters get of a record."""
    points = tuple(ExportPoint(*value, "") for value in decoded.values)
    failed = tuple(ExportPoint(name, "", None, why) for name, why in decoded.failures)
    return ExportRecord(
        seq, decoded.device_id, device.name, device.role, *wall, points + failed, decoded.gap,
        decoded, boot_id,
    )  # fmt: skip
