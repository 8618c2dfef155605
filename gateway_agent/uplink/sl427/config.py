"""What an operator writes for a centre station of SL 427, and what is checked before it is used."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from gateway_agent.config_types import Name, count, milliseconds
from gateway_agent.uplink.exporter_config import ExporterConfig, SiteDevice, TableFault
from gateway_agent.uplink.station_points import ReportedPoint, points_left_out
from gateway_agent.uplink.units import is_convertible
from protocols.uplink.sl427 import QUANTITIES, Quantity

_County: TypeAlias = Annotated[
    str,
    Meta(
        pattern="^[0-9]{6}\\Z",
        description="the six digits of the county (GB/T 2260)",
        examples=["510100"],
    ),
]
_Height: TypeAlias = Annotated[float, Meta(description="a height in m", examples=[5.2])]


class QuantityOfPoint(Struct, frozen=True, kw_only=True):
    """One quantity that a station reports, and the point that it is made of.

    ``unit``: of the point, where the device gives none. ``datum_m``: the height of a distance
    sensor above the gauge's zero; the level is it less the distance.
    """

    quantity: Literal["rain", "level", "flow", "speed"]
    point: str
    unit: str = ""
    datum_m: _Height | None = None

    @property
    def of_table(self) -> Quantity:
        """Return the quantity as the protocol has it."""
        return next(row for row in QUANTITIES.values() if row.name == self.quantity)

    @property
    def datum(self) -> Decimal | None:
        """Return the height of the sensor above the gauge's zero in m, if there is one."""
        return None if self.datum_m is None else Decimal(str(self.datum_m))


class Sl427Device(Struct, frozen=True, kw_only=True):
    """A device as the centre knows it: county and number, and what it reports."""

    device: Name
    county: _County
    number: Annotated[int, count(1, 60_000, 13)]
    report: Annotated[tuple[QuantityOfPoint, ...], Meta(min_length=1)]


class Sl427Uplink(ExporterConfig, frozen=True, kw_only=True, tag_field="type", tag="sl427"):
    """``type = "sl427"``: a centre station on TCP, and the stations that report to it."""

    host: str
    port: Annotated[int, count(1, 65_535, 7427)]
    #: Minutes between two reports of a station.
    report_min: Annotated[int, count(1, 1440, 5)] = 5
    #: ``false``: the centre answers nothing, and what was sent is delivered.
    confirmed: bool = True
    #: From implementations: SZY206-2016 has no month and no year in the time of a frame.
    edition: Literal["sl427-2021", "szy206-2016"] = "sl427-2021"
    answer_ms: Annotated[int, milliseconds(100, 300_000, 10_000)] = 10_000
    keep_alive_ms: Annotated[int, milliseconds(1000, 255_000, 40_000)] = 40_000
    station: Annotated[tuple[Sl427Device, ...], Meta(min_length=1)]

    @property
    def where(self) -> str:
        """Where it sends to."""
        return f"{self.host}:{self.port}"

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
        devices = [station.device for station in self.station]
        addresses = [(station.county, station.number) for station in self.station]
        for index, station in enumerate(self.station):
            at = f"station[{index}]"
            if station.device in devices[:index]:
                yield TableFault(f"{at}.device", station.device, "each once", "change one of them")
            if addresses[index] in addresses[:index]:
                got = f"{station.county} {station.number}"
                yield TableFault(f"{at}.number", got, "each once", "change one of them")
            names = [one.quantity for one in station.report]
            for number, one in enumerate(station.report):
                yield from _faults(f"{at}.report[{number}]", one, names[:number])


def _faults(at: str, one: QuantityOfPoint, before: Sequence[str]) -> Iterator[TableFault]:
    unit = one.of_table.unit
    if one.quantity in before:
        yield TableFault(f"{at}.quantity", one.quantity, "each once", "remove one of them")
    if one.datum_m is not None and unit != "m":
        remedy = f"remove it: {one.quantity} is in {unit}"
        yield TableFault(f"{at}.datum_m", one.datum_m, "a level in m", remedy)
    if one.unit and not is_convertible(one.unit, unit):
        expected = f"a unit that becomes {unit}"
        yield TableFault(f"{at}.unit", one.unit, expected, "is it another quantity?")
