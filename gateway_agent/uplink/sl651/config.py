"""What an operator writes for a centre station of SL 651, and what is checked before it is used."""

from collections.abc import Iterator, Sequence
from typing import Annotated, TypeAlias

from msgspec import Meta, Struct, field

from gateway_agent.config_types import Name, count
from gateway_agent.uplink.exporter_config import SiteDevice, TableFault
from gateway_agent.uplink.station_tables import (
    ReportedPoint,
    StationPoint,
    StationUplink,
    each_once,
    points_left_out,
)
from protocols.uplink.sl651 import BCD, ELEMENTS, STATION_CLASSES

from .hourly import FITTING_MINUTES, OF_AN_HOUR

_Hex4: TypeAlias = Annotated[
    str,
    Meta(pattern="^[0-9A-Fa-f]{4}\\Z", description="four hexadecimal digits", examples=["0000"]),
]
_Address: TypeAlias = Annotated[
    str,
    Meta(
        pattern="^[0-9A-Fa-f]{10}\\Z",
        description="ten hexadecimal digits, as the bureau gave them",
        examples=["0012345678"],
    ),
]
_Code: TypeAlias = Annotated[
    str,
    Meta(
        pattern="^[0-9A-Fa-f]{2}\\Z",
        description="an element's code, two hexadecimal digits",
        examples=["39"],
    ),
]
_Step: TypeAlias = Annotated[
    float, Meta(gt=0, description="a change in the element's unit", examples=[0.05])
]


class StationElement(StationPoint, frozen=True, kw_only=True):
    """One element of a station's report: its code of annex C and the point that it is made of.

    ``event_step``: a change of the element by that much is reported at once (function 33).
    """

    code: _Code
    event_step: _Step | None = None

    @property
    def identifier(self) -> int:
        """The identifier byte."""
        return int(self.code, 16)


class StationOfDevice(Struct, frozen=True, kw_only=True):
    """A device as the centre knows it: ten digits of address, class, and its elements."""

    device: Name
    address: _Address
    station_class: str = field(name="class", default="H")
    element: tuple[StationElement, ...] = ()
    #: The centre gets the pictures that a camera node's image switch lets out (function 36).
    pictures: bool = False
    #: The centre gets each hour in a report of its own, with twelve values of 5 minutes (34).
    hourly: bool = False


class Sl651Uplink(StationUplink, frozen=True, kw_only=True, tag_field="type", tag="sl651"):
    """``type = "sl651"``: a centre station on TCP, and the stations that report to it."""

    centre: Annotated[int, count(1, 255, 1)] = 1
    password: _Hex4 = "0000"  # noqa: S105 # of the frames; it protects nothing
    #: The centre may set how often a node samples (function 42, parameter 23).
    allow_control: bool = False
    station: Annotated[tuple[StationOfDevice, ...], Meta(min_length=1)]

    def left_out(self, devices: Sequence[SiteDevice]) -> Iterator[str]:
        """Yield the devices that are no station, and the points that no element is made of."""
        stations = {
            station.device: [
                ReportedPoint(
                    one.point, one.unit, ELEMENTS[one.identifier].unit, f"element {one.code}"
                )
                for one in station.element
            ]
            for station in self.station
        }
        yield from points_left_out(devices, stations)

    def faults(self) -> Iterator[TableFault]:
        """Yield what the protocol cannot say."""
        yield from each_once("device", [station.device for station in self.station])
        yield from each_once("address", [station.address.upper() for station in self.station])
        for index, station in enumerate(self.station):
            at = f"station[{index}]"
            if station.station_class not in STATION_CLASSES:
                known = ", ".join(f"{key} {text}" for key, text in STATION_CLASSES.items())
                yield TableFault(f"{at}.class", station.station_class, "a class", f"one of {known}")
            codes = {element.identifier for element in station.element}
            if station.hourly and not codes & set(OF_AN_HOUR):
                known = ", ".join(f"{code:02X} {ELEMENTS[code].name}" for code in OF_AN_HOUR)
                yield TableFault(f"{at}.hourly", True, "an element of an hour", f"one of {known}")
            if station.hourly and self.report_min not in FITTING_MINUTES:
                remedy = f"report_min = {FITTING_MINUTES[0]} or {FITTING_MINUTES[1]}"
                yield TableFault(f"{at}.hourly", True, "a report each 5 minutes", remedy)
            for number, element in enumerate(station.element):
                yield from _faults(f"{at}.element[{number}]", element)


def _faults(at: str, element: StationElement) -> Iterator[TableFault]:
    known = ELEMENTS.get(element.identifier)
    if known is None or known.kind != BCD:
        codes = ", ".join(
            f"{row.identifier:02X} {row.name}" for row in ELEMENTS.values() if row.kind == BCD
        )
        yield TableFault(f"{at}.code", element.code, "an element that is a number", codes)
        return
    yield from element.faults_as(at, known.name, known.unit, "element")
