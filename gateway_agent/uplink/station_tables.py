"""What the tables of SL 651 and SL 427 share: a centre on TCP, points that become its values."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Annotated, NamedTuple, TypeAlias

from msgspec import Meta, Struct

from gateway_agent.config_types import count, milliseconds
from protocols.export_record import ExportRecord
from protocols.wire.errors import LocalError

from .exporter_config import ExporterConfig, SiteDevice, TableFault
from .units import converted, is_convertible

_Height: TypeAlias = Annotated[float, Meta(description="a height in m", examples=[5.2])]


class StationPoint(Struct, frozen=True, kw_only=True):
    """A point that becomes a value of a report.

    ``unit``: of the point, where the device gives none. ``datum_m``: the height of a distance
    sensor above the gauge's zero; the level is it less the distance.
    """

    point: str
    unit: str = ""
    datum_m: _Height | None = None

    def value(
        self,
        sample: ExportRecord,
        unit: str,
        write: Callable[[Decimal], object],
        refused: Callable[[str], None],
    ) -> Decimal | None:
        """Return what a sample says in this unit; None for what is missing, bad or too large.

        ``write`` puts it into a frame, or raises LocalError: ``refused`` gets a line about that.
        """
        point = next((point for point in sample.points if point.name == self.point), None)
        if point is None or point.value is None:
            return None
        try:
            value = converted(Decimal(str(point.value)), point.unit or self.unit or unit, unit)
            value = value if self.datum_m is None else Decimal(str(self.datum_m)) - value
            write(value)
        except (LocalError, ValueError) as error:
            refused(f"{point.name} is left out: {error}")
            return None
        return value

    def faults_as(self, at: str, name: str, unit: str, kind: str) -> Iterator[TableFault]:
        """Yield why it cannot become ``name``, a ``kind`` of value in this unit."""
        if self.datum_m is not None and unit != "m":
            remedy = f"remove it: {name} is in {unit or 'no unit'}"
            yield TableFault(f"{at}.datum_m", self.datum_m, "a level in m", remedy)
        if self.unit and not is_convertible(self.unit, unit):
            expected = f"a unit that becomes {unit or 'a plain number'}"
            yield TableFault(f"{at}.unit", self.unit, expected, f"is it another {kind}?")


class StationUplink(ExporterConfig, frozen=True, kw_only=True):
    """A centre station on TCP, and how its stations report to it."""

    host: str
    port: Annotated[int, count(1, 65_535, 7651)]
    #: Minutes between two reports of a station.
    report_min: Annotated[int, count(1, 1440, 5)] = 5
    #: ``false``: nothing says whether a report arrived (M1 of SL 651); what was sent is delivered.
    confirmed: bool = True
    answer_ms: Annotated[int, milliseconds(100, 300_000, 10_000)] = 10_000
    keep_alive_ms: Annotated[int, milliseconds(1000, 255_000, 40_000)] = 40_000

    @property
    def where(self) -> str:
        """Where it sends to."""
        return f"{self.host}:{self.port}"


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


def each_once(key: str, names: Sequence[str]) -> Iterator[TableFault]:
    """Yield the stations with a name that one before them has. ``key``: where it stands."""
    for index, name in enumerate(names):
        if name in names[:index]:
            yield TableFault(f"station[{index}].{key}", name, "each once", "change one of them")
