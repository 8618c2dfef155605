"""What an operator writes for a centre station of SL 427, and what is checked before it is used."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from gateway_agent.config_types import Name, count
from gateway_agent.uplink.exporter_config import SiteDevice, TableFault
from gateway_agent.uplink.station_tables import (
    ReportedPoint,
    StationPoint,
    StationUplink,
    each_once,
    points_left_out,
)
from protocols.uplink.sl427 import QUANTITIES, Quantity

_County: TypeAlias = Annotated[
    str,
    Meta(
        pattern="^[0-9]{6}\\Z",
        description="the six digits of the county (GB/T 2260)",
        examples=["510100"],
    ),
]


class QuantityOfPoint(StationPoint, frozen=True, kw_only=True):
    """One quantity that a station reports, and the point that it is made of."""

    quantity: Literal["rain", "level", "flow", "speed"]

    @property
    def of_table(self) -> Quantity:
        """Return the quantity as the protocol has it."""
        return next(row for row in QUANTITIES.values() if row.name == self.quantity)


class Sl427Device(Struct, frozen=True, kw_only=True):
    """A device as the centre knows it: county and number, and what it reports."""

    device: Name
    county: _County
    number: Annotated[int, count(1, 60_000, 13)]
    report: Annotated[tuple[QuantityOfPoint, ...], Meta(min_length=1)]


class Sl427Uplink(StationUplink, frozen=True, kw_only=True, tag_field="type", tag="sl427"):
    """``type = "sl427"``: a centre station on TCP, and the stations that report to it."""

    port: Annotated[int, count(1, 65_535, 7427)]
    #: From implementations: SZY206-2016 has no month and no year in the time of a frame.
    edition: Literal["sl427-2021", "szy206-2016"] = "sl427-2021"
    station: Annotated[tuple[Sl427Device, ...], Meta(min_length=1)]

    @property
    def time_bytes(self) -> int:
        """How long the time in a frame is."""
        return 7 if self.edition == "sl427-2021" else 5

    def left_out(self, devices: Sequence[SiteDevice]) -> Iterator[str]:
        """Yield the devices that are no station, and the points that no quantity is made of."""
        stations = {
            station.device: [
                ReportedPoint(one.point, one.unit, one.of_table.unit, one.quantity)
                for one in station.report
            ]
            for station in self.station
        }
        yield from points_left_out(devices, stations)

    def faults(self) -> Iterator[TableFault]:
        """Yield what the protocol cannot say."""
        yield from each_once("device", [station.device for station in self.station])
        numbers = [f"{station.county} {station.number}" for station in self.station]
        yield from each_once("number", numbers)
        for index, station in enumerate(self.station):
            names = [one.quantity for one in station.report]
            for number, one in enumerate(station.report):
                at = f"station[{index}].report[{number}]"
                if one.quantity in names[:number]:
                    remedy = "remove one of them"
                    yield TableFault(f"{at}.quantity", one.quantity, "each once", remedy)
                yield from one.faults_as(at, one.quantity, one.of_table.unit, "quantity")
