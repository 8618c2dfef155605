"""SL 651-2014, the protocol of hydrological stations: frames, reports and the station's side.

Bytes in, events out; time enters as an argument. What is said of the standard here was read in its
approval draft (报批稿) and in frames of implementations; where a name or a rule comes from
implementations alone the place says so.
"""

from . import questions
from .elements import (
    BCD,
    ELEMENTS,
    Element,
    ElementGroup,
    element_value,
    number_group,
    read_groups,
    write_group,
)
from .frame import FRAME_BYTES, MAX_BODY_BYTES, Sl651Frame, Sl651Reader, encode_frame
from .report import STATION_CLASSES, Observation, StationReport, read_report, write_report
from .station import (
    Asked,
    Confirmed,
    NotConfirmed,
    Station,
    StationEvent,
    StationSettings,
    Unreadable,
)

__all__ = [
    "BCD",
    "ELEMENTS",
    "FRAME_BYTES",
    "MAX_BODY_BYTES",
    "STATION_CLASSES",
    "Asked",
    "Confirmed",
    "Element",
    "ElementGroup",
    "NotConfirmed",
    "Observation",
    "Sl651Frame",
    "Sl651Reader",
    "Station",
    "StationEvent",
    "StationReport",
    "StationSettings",
    "Unreadable",
    "element_value",
    "encode_frame",
    "number_group",
    "questions",
    "read_groups",
    "read_report",
    "write_group",
    "write_report",
]
