"""Every point of every role and of every shipped profile, with values from its registers.

A value is made as a device has it: an integer (or a float) in registers, times a power of ten. What
it is in the point's unit is computed here, in decimal numbers, from that integer alone.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

from gateway_agent.field.profile import load_profile, shipped
from gateway_agent.uplink.exporter_config import SiteDevice
from protocols.export_record import DeviceInfo, ExportRecord, export_record
from protocols.uplink import ProfileTemplate, Record, Stamp, decode_record
from protocols.wire.registers import MAPS
from tests.unit.gateway_agent.store_help import GATEWAY, WALL_MS


class WalkedPoint(NamedTuple):
    """A point, two integers as they may stand in its registers, and their power of ten."""

    role: str
    name: str
    unit: str
    exp10: int
    raws: tuple[int, int]


def every_point() -> Iterator[WalkedPoint]:
    for role in MAPS:
        for point in role.points:
            yield _point(role.role, point.name, point.unit, point.exp10, (point.low, point.high))
    for name in shipped():
        for one in load_profile(name).points:
            spec, limits = one.spec, one.limits
            if one.is_text:
                continue
            low, high = max(limits.low, -30_000), min(limits.high, 60_000)
            yield _point(name, spec.name, spec.unit, one.exp10, (int(low), int(high)))


def _point(role: str, name: str, unit: str, exp10: int, limits: tuple[int, int]) -> WalkedPoint:
    low, high = limits
    raws = low + (high - low) * 31 // 1000, low + (high - low) * 617 // 1000
    return WalkedPoint(role, name, unit, exp10, raws)


POINTS = list(every_point())
ROLES = list(dict.fromkeys(point.role for point in POINTS))


def points_of(role: str) -> list[WalkedPoint]:
    return [point for point in POINTS if point.role == role]


def value(point: WalkedPoint, which: int) -> Decimal:
    """The value in the point's own unit."""
    return Decimal(point.raws[which]).scaleb(point.exp10)


def device(role: str) -> DeviceInfo:
    return DeviceInfo(f"{GATEWAY}.at-{role}", f"at-{role}", "roof", role, 1000)


def site() -> list[SiteDevice]:
    """All devices as the checks of a configuration see them."""
    return [
        SiteDevice(f"at-{role}", role, tuple((one.name, one.unit) for one in points_of(role)))
        for role in ROLES
    ]


def poll(role: str, which: int, seq: int = 1) -> Record:
    """A poll of all points of a device."""
    points = points_of(role)
    template = ProfileTemplate(
        device(role).id, [(point.name, point.unit, point.exp10) for point in points]
    )
    wall_ms = WALL_MS + 1000 * seq
    return template.record([one.raws[which] for one in points], Stamp(1, 2, wall_ms, 5, 3))


def record(role: str, which: int, seq: int = 1) -> ExportRecord:
    """A poll as exporters get it."""
    decoded = decode_record(poll(role, which, seq).data)
    return export_record(seq, decoded, (WALL_MS + 1000 * seq, 5), device(role))
