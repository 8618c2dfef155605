"""Which points of which devices a centre of hydrological stations does not get, for ``check``."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from .exporter_config import SiteDevice
from .units import is_convertible


class ReportedPoint(NamedTuple):
    """A point that a station reports: the unit the file gives it, and the one that is sent."""

    point: str
    given: str
    wanted: str
    what: str  # it is sent as


def points_left_out(
    devices: Sequence[SiteDevice], stations: Mapping[str, Sequence[ReportedPoint]]
) -> Iterator[str]:
    """Yield a line for each. ``stations``: what is reported, by the name of the device."""
    known = {device.name: dict(device.points) for device in devices}
    for device in devices:
        reported = stations.get(device.name)
        if reported is None:
            yield f"{device.name} is no station"
            continue
        used = {one.point for one in reported}
        for point, _ in device.points:
            if point not in used:
                yield f"{device.name}/{point} is not reported"
    for name, reported in stations.items():
        if name not in known:
            yield f"station {name} is no device of this gateway"
            continue
        for one in reported:
            unit = known[name].get(one.point)
            if unit is None:
                yield f"{name}/{one.point} is measured by no device"
            elif not is_convertible(unit or one.given or one.wanted, one.wanted):
                wanted = one.wanted or "a plain number"
                yield f"{name}/{one.point} is in {unit}, which never becomes {wanted} of {one.what}"
